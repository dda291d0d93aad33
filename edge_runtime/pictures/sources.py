"""Sources of a command: what its inputs stand for, files, folders, patterns, ``-`` or a video."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ImageError, UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif")
"""Suffixes, in lower case, of the pictures that can be both read and written."""
STDIO = Path("-")
"""Stands for standard input as an input, and for standard output as an output."""
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".m2t", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".dv", ".y4m",
    ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".m1v", ".m2v", ".ivf",
    ".obu",
)  # fmt: skip
"""Suffixes, in lower case, of the files that are taken for videos."""
SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://", "srt://")
"""What the addresses of streams begin with."""
Unlisted = Callable[[str], object]
"""Called with the line that tells of a folder in a folder that cannot be listed."""
_ADDRESS = re.compile(r"(https?|ftps?|sftp|s3)://|www\.", re.IGNORECASE)


def nobody(line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Source:
    """One picture to derain.

    Attributes:
        path: The file, or ``STDIO``.
        below: Its folder below the input folder in which it was found; ``'.'`` for one that was
            named itself.
    """

    path: Path
    below: Path = Path()


def is_address(name: str) -> bool:
    """Return whether ``name`` is the address of something on the web."""
    return _ADDRESS.match(name) is not None


def is_stream(name: str) -> bool:
    """Return whether ``name`` is the address of a stream."""
    return name.lower().startswith(SCHEMES)


def is_clip(name: str) -> bool:
    """Return whether ``name`` is that of a video file."""
    return not is_stream(name) and Path(name).suffix.lower() in VIDEOS


def is_moving(name: str) -> bool:
    """Return whether an input is a video or a stream; an address that ends as pictures is none."""
    return is_clip(name) or (
        is_stream(name) and not re.sub(r"[?#].*", "", name).lower().endswith(SUFFIXES)
    )


def find_sources(
    inputs: Iterable[str],
    *,
    recursive: bool = False,
    ours: Sequence[str] = (),
    out: Path | None = None,
    unlisted: Unlisted = nobody,
) -> Iterator[Source]:
    """Yield each picture once, in order, however often and in whatever way it was named.

    A folder stands for the pictures in it, and a pattern that no file is called for what it
    matches. Hidden files and folders are left out of both.

    Args:
        inputs: Files, folders, patterns such as ``'holiday/*.jpg'`` that no shell has expanded,
            or ``'-'`` for standard input.
        recursive: Look into the folders of folders too, but not into links to some.
        ours: Ends of the stems of our own results, which are left out unless named themselves.
        out: Where results go, which is not searched either, unless it is an input.
        unlisted: Told of folders in folders that cannot be listed.

    Raises:
        UsageError: A folder or a pattern stands for no picture, or a name is a web address.
        ImageError: An input folder cannot be listed.
    """
    seen = set()
    for name in inputs:
        for source in _expand(name, recursive, tuple(ours), out, unlisted):
            place = os.path.abspath(source.path)
            if place not in seen:
                seen.add(place)
                yield source


def pictures_below(
    folder: Path,
    *,
    recursive: bool,
    ours: tuple[str, ...],
    out: Path | None = None,
    unlisted: Unlisted = nobody,
) -> Iterator[Source]:
    """Yield the pictures of a folder, as ``find_sources`` does, sorted; also none at all.

    Raises:
        ImageError: ``folder`` itself cannot be listed.
    """
    for path in find_pictures(folder):
        if not path.stem.endswith(ours):
            yield Source(path)
    if not recursive:
        return

    def refuse(error: OSError) -> None:
        unlisted(
            f"{error.filename}: cannot be listed ({error.strerror}); allow it, or move it away"
        )

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _same(Path(parent, name), out)
        )
        if Path(parent) == folder:
            continue
        for path in _pictures_of(parent, files):
            if not path.stem.endswith(ours):
                yield Source(path, Path(parent).relative_to(folder))


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files in ``folder`` itself that have a suffix of a picture, sorted by name.

    Hidden files, as macOS leaves one beside each picture on foreign disks, are none.

    Raises:
        ImageError: The folder is missing or cannot be listed.
    """
    try:
        return _pictures_of(folder, os.listdir(folder))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from None


def _pictures_of(folder: str | os.PathLike[str], names: Iterable[str]) -> list[Path]:
    paths = sorted(Path(folder, name) for name in names if not name.startswith("."))
    return [path for path in paths if path.suffix.lower() in SUFFIXES and _may_be_file(path)]


def _may_be_file(path: Path) -> bool:
    """Return whether a name is that of a file, or of what nobody here may look at."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        return isinstance(error, PermissionError)


def _expand(
    name: str, recursive: bool, ours: tuple[str, ...], out: Path | None, unlisted: Unlisted
) -> Iterable[Source]:
    if name == "-":
        return [Source(STDIO)]
    path = Path(name)
    if path == STDIO:  # a file of that name, meant as './-'
        path = path.absolute()
    if os.path.isdir(path):
        found = list(
            pictures_below(path, recursive=recursive, ours=ours, out=out, unlisted=unlisted)
        )
        if not found:
            raise UsageError(
                f"{path}: holds no pictures to derain; looked for {', '.join(SUFFIXES)}"
                + ("" if recursive else "; -r looks into its folders too")
            )
        return found
    if os.path.exists(path):
        return [Source(path)]
    if is_address(name):
        raise UsageError(f"{name}: is a web address; download it, and name the file")
    if not glob.has_magic(name):
        return [Source(path)]
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
    chosen = [Source(match) for match in matches if _is_ordinary(match, ours)]
    if not chosen:
        raise UsageError(f"{name}: matches no picture; check the pattern")
    return chosen


def _is_ordinary(path: Path, ours: tuple[str, ...]) -> bool:
    return path.suffix.lower() in SUFFIXES and os.path.isfile(path) and not path.stem.endswith(ours)


def _same(folder: Path, out: Path | None) -> bool:
    return out is not None and os.path.realpath(folder) == os.path.realpath(out)
