"""Open video files, with PyAV, or with OpenCV where that is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edge_runtime.errors import UsageError, VideoError
from edge_runtime.video.frames import Reader, VideoInfo, Writer

WRITABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes, in lower case, of the videos that can be written."""
READABLE = (
    *WRITABLE, ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
"""Suffixes, in lower case, of the files that are taken for videos."""
CRF = 18
"""Default constant rate factor: what the encoder loses is hard to see."""
MAX_CRF = 51
WITHOUT_AV = (
    "without PyAV videos have no sound and a constant frame rate; "
    "run: pip install 'edge-derain[video]'"
)
"""What users should know where that is so."""


def has_av() -> bool:
    """Return whether PyAV, of the extra ``video``, is installed."""
    return find_spec("av") is not None


def check_target(target: Path) -> str:
    """Return the suffix in lower case, or raise UsageError when no video is written under it."""
    suffix = target.suffix.lower()
    if suffix not in WRITABLE:
        raise UsageError(
            f"{target}: cannot write {suffix or 'no suffix'} as video; use {', '.join(WRITABLE)}"
        )
    return suffix


def open_reader(source: Path) -> Reader:
    """Open a video file.

    Raises:
        VideoError: The file is missing, empty, or no video.
    """
    if not source.is_file():
        raise VideoError(f"{source}: no such file; check the name")
    if source.stat().st_size == 0:
        raise VideoError(f"{source}: is empty; copy it again")
    if has_av():
        from edge_runtime.video.av_files import AvReader

        return AvReader(source)
    from edge_runtime.video.cv_files import CvReader

    return CvReader(source)


def open_writer(
    path: Path, suffix: str, info: VideoInfo, crf: int = CRF, sound: Reader | None = None
) -> Writer:
    """Begin a new video file.

    Args:
        path: Where to write, whatever its suffix.
        suffix: One of ``WRITABLE``, which chooses the container.
        info: Of what will be written.
        crf: Constant rate factor of the encoder, from 0 (best) to 51; ignored without PyAV.
        sound: Whose sound and metadata go along; None for neither.

    Raises:
        VideoError: The file cannot be made.
        UsageError: ``crf`` is out of range.
    """
    if not 0 <= crf <= MAX_CRF:
        raise UsageError(f"crf must be from 0 to {MAX_CRF}, got {crf}")
    if has_av():
        from edge_runtime.video.av_files import AvReader, AvWriter

        return AvWriter(path, suffix, info, crf, sound if isinstance(sound, AvReader) else None)
    from edge_runtime.video.cv_files import CvWriter

    return CvWriter(path, suffix, info)
