"""Places for derained frames: a video file that appears when it is complete, or raw bytes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.errors import UsageError, VideoError
from edge_runtime.files import replacing
from edge_runtime.video.frames import Frame, VideoInfo, Writer, check_size
from edge_runtime.video.pixels import LIMITED, pack, pixel_format, storable
from edge_runtime.video.reader import AvReader, pyav, reason
from edge_runtime.video.tracks import KINDS, Tracks

MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes, in lower case, of the videos that can be written, with FFmpeg's names of them."""
WRITABLE = tuple(MUXERS)
CRF = 18
"""Default constant rate factor: what the encoder loses is hard to see."""
MAX_CRF = 51
_MOST_TICKS = 2**31 - 1  # from one frame to the next


def check_target(target: Path) -> str:
    """Return the suffix in lower case, or raise UsageError when no video is written under it."""
    suffix = target.suffix.lower()
    if suffix not in WRITABLE:
        raise UsageError(
            f"{target}: cannot write {suffix or 'no suffix'} as video; use {', '.join(WRITABLE)}"
        )
    return suffix


def crf_of(quality: int) -> int:
    """Return the constant rate factor for a quality from 1 (worst) to 100 (best)."""
    return round(MAX_CRF * (100 - quality) / 99)


class AvWriter:
    """A video file in the making; see ``frames.Writer``.

    H.264, or VP9 in ``.webm``, 8 bits, colour at half size, in the colour space of the source.
    All else of the source goes along as far as the file can hold it; sound is copied, or encoded
    anew where it cannot be held as it is.

    Args:
        path: Where to write, whatever its suffix.
        suffix: One of ``WRITABLE``, which chooses the container.
        info: Of what will be written.
        crf: Constant rate factor of the encoder, from 0 (best) to 51.
        source: Whose other tracks, chapters and metadata go along; None for none.

    Raises:
        UsageError: ``crf`` is out of range.
        MissingExtraError: PyAV is not installed.
        VideoError: The file cannot be made.
    """

    def __init__(
        self, path: Path, suffix: str, info: VideoInfo, crf: int, source: AvReader | None = None
    ) -> None:
        if not 0 <= crf <= MAX_CRF:
            raise UsageError(f"crf must be from 0 to {MAX_CRF}, got {crf}")
        self._failure = pyav().FFmpegError
        self._info = dataclasses.replace(info, alpha=info.alpha and suffix == ".webm")
        self._last: int | None = None
        self._tracks: Tracks | None = None
        self._notes: list[str] = []
        if info.alpha and not self._info.alpha:
            self._notes.append("left out: transparency; .webm holds it")
        try:
            self._begin(path, suffix, crf, source)
        except (self._failure, OSError) as error:
            raise _unwritable(error) from None

    def _begin(self, path: Path, suffix: str, crf: int, source: AvReader | None) -> None:
        """Open the file with all tracks or, where it refuses that, with fewer."""
        options = {"movflags": "+faststart"} if MUXERS[suffix] in ("mp4", "mov") else {}
        attempts = [] if source is None else [(KINDS, True), (("audio",), False)]
        for kinds, copied in [*attempts, ((), False)]:
            self._container = pyav().open(
                f"file:{path}", "w", format=MUXERS[suffix], container_options=options
            )
            self._stream = self._add_video(suffix, crf)
            self._tracks = None
            try:
                if kinds:
                    self._tracks = Tracks(
                        self._container, self._stream, source, kinds=kinds, copied=copied
                    )
                self._container.start_encoding()
                break
            except (self._failure, ValueError):
                if not kinds:
                    raise
        if source and self._tracks is None:
            self._notes.append("left out: all but the picture, which did not fit together")

    def _add_video(self, suffix: str, crf: int) -> Any:
        if suffix == ".webm":
            codec, options = "libvpx-vp9", {"b": "0", "cpu-used": "5", "row-mt": "1"}
        else:
            codec, options = "libx264", {"preset": "veryfast"}
        # Encoders store the rate in 16 bits or so; the true times are in the frames.
        rate = max(self._info.rate.limit_denominator(1001), Fraction(1, 1001))
        options["crf"] = str(crf)
        stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        stream.width = self._info.width + self._info.width % 2
        stream.height = self._info.height + self._info.height % 2
        stream.pix_fmt = pixel_format(self._info)
        context = stream.codec_context
        context.time_base = self._info.clock
        context.sample_aspect_ratio = self._info.pixel_aspect
        matrix, primaries, transfer = self._info.colour
        context.colorspace = storable(matrix, self._info.height)
        context.color_primaries, context.color_trc = primaries, transfer
        context.color_range = LIMITED
        return stream

    @property
    def has_frames(self) -> bool:
        """Whether a frame was written."""
        return self._last is not None

    @property
    def notes(self) -> list[str]:
        """What the file does not hold of the source; see ``frames.Writer``."""
        return [*self._notes, *(self._tracks.notes if self._tracks else [])]

    def write(self, item: Any) -> None:
        """Append a frame, or a packet of the source; see ``frames.Writer``."""
        try:
            if isinstance(item, Frame):
                self._container.mux(self._stream.encode(self._convert(item)))
            elif self._tracks:
                self._tracks.take(item)
        except (self._failure, OSError) as error:
            raise _unwritable(error) from None

    def _convert(self, frame: Frame) -> Any:
        check_size(frame, self._info)
        picture = pack(frame, self._info)
        ticks = round(frame.time / self._info.clock)
        # Files refuse times that do not grow, or leap too far, which broken ones have.
        if self._last is not None:
            ticks = min(max(ticks, self._last + 1), self._last + _MOST_TICKS)
        self._last = ticks
        picture.pts, picture.time_base = ticks, self._info.clock
        picture.duration = round(frame.duration / self._info.clock)
        return picture

    def close(self, *, finish: bool) -> None:
        """End the file; see ``frames.Writer``."""
        try:
            if finish:
                self._container.mux(self._stream.encode(None))
                if self._tracks:
                    self._tracks.finish()
            self._container.close()
        except (self._failure, OSError) as error:
            if finish:
                raise _unwritable(error) from None


def _unwritable(error: BaseException) -> VideoError:
    return VideoError(f"the video cannot be written ({reason(error)}); choose another place")


class RawWriter:
    """Writes frames as raw rgb24: rows from the top, three bytes a pixel, no header.

    Args:
        stream: Where to, such as ``sys.stdout.buffer``; it is flushed but not closed.
        info: Of what will be written; all frames have that size.
    """

    notes = ()

    def __init__(self, stream: BinaryIO, info: VideoInfo) -> None:
        self._stream = stream
        self._info = info

    def write(self, item: Any) -> None:
        """Write a frame; other tracks are left out."""
        if isinstance(item, Frame):
            check_size(item, self._info)
            self._stream.write(item.rgb.tobytes())
            self._stream.flush()

    def close(self, *, finish: bool) -> None:
        """Do nothing: every frame is out already."""


@contextlib.contextmanager
def destination(
    info: VideoInfo, target: Path | BinaryIO, *, crf: int = CRF, source: AvReader | None = None
) -> Iterator[Writer]:
    """Give a writer to a video file, or to a stream for raw rgb24 frames.

    The folder of the file is made. When the block ends, the file is completed and takes its
    name; when the block raises, what lay under that name stays as it was.

    Args:
        info: Of what will be written.
        target: A video whose suffix is one of ``WRITABLE``, or a stream.
        crf: Constant rate factor of the file, from 0 (best) to 51.
        source: Whose other tracks, chapters and metadata go into the file.

    Raises:
        VideoError: The file cannot be written.
        UsageError: Unknown suffix, or ``crf`` out of range.
        MissingExtraError: PyAV is not installed.
    """
    if not isinstance(target, Path):
        yield RawWriter(target, info)
        return
    suffix = check_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            writer = AvWriter(part, suffix, info, crf, source)
            try:
                yield writer
            except BaseException:
                writer.close(finish=False)
                raise
            writer.close(finish=writer.has_frames)
            if not writer.has_frames:
                raise VideoError(f"{target}: is not written, because no frame came")
    except OSError as error:
        raise VideoError(
            f"{target}: cannot be written ({error.strerror}); choose another place"
        ) from None
