"""Places for derained frames: a video file that appears when it is complete, or raw bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.errors import VideoError
from edge_runtime.files import replacing
from edge_runtime.video.files import CRF, AvReader, AvWriter, check_target
from edge_runtime.video.frames import Frame, VideoInfo, Writer, check_size


class RawWriter:
    """Writes frames as raw rgb24: rows from the top, three bytes a pixel, no header.

    Args:
        stream: Where to, such as ``sys.stdout.buffer``; it is flushed but not closed.
        info: Of what will be written; all frames have that size.
    """

    def __init__(self, stream: BinaryIO, info: VideoInfo) -> None:
        self._stream = stream
        self._info = info

    def write(self, item: Any) -> None:
        """Write a frame; sound is left out."""
        if isinstance(item, Frame):
            check_size(item, self._info)
            self._stream.write(item.rgb.tobytes())
            self._stream.flush()

    def close(self, *, finish: bool) -> None:
        """Do nothing: every frame is out already."""


@contextlib.contextmanager
def destination(
    info: VideoInfo, target: Path | BinaryIO, *, crf: int = CRF, sound: AvReader | None = None
) -> Iterator[Writer]:
    """Give a writer to a video file, or to a stream for raw rgb24 frames.

    The folder of the file is made. When the block ends, the file is completed and takes its
    name; when the block raises, what lay under that name stays as it was.

    Args:
        info: Of what will be written.
        target: A video whose suffix is one of ``files.WRITABLE``, or a stream.
        crf: Constant rate factor of the file, from 0 (best) to 51.
        sound: Whose sound and metadata go into the file.

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
            writer = AvWriter(part, suffix, info, crf, sound)
            try:
                yield writer
            except BaseException:
                writer.close(finish=False)
                raise
            writer.close(finish=True)
            if not part.stat().st_size:
                raise VideoError(f"{target}: is not written, because no frame came")
    except OSError as error:
        raise VideoError(
            f"{target}: cannot be written ({error.strerror}); choose another place"
        ) from None
