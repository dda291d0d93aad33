"""Derain a video file frame by frame, in constant memory."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.derainer import Derainer
from edge_runtime.prefetch import ahead
from edge_runtime.video.files import CRF, open_reader
from edge_runtime.video.frames import Frame, Reader, Writer
from edge_runtime.video.outputs import destination
from edge_runtime.video.steady import Steadier


@dataclass(frozen=True)
class VideoSummary:
    """What became of a video.

    Attributes:
        frames: How many were derained and written.
        damaged: Packets of the source that could not be decoded and were passed over.
        width: Pixels of a frame; ``height`` likewise.
        seconds: From the first frame to the last.
    """

    frames: int
    damaged: int
    width: int
    height: int
    seconds: float


def derain_video(
    derainer: Derainer,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    crf: int = CRF,
    steady: bool = False,
    on_frame: Callable[[], object] | None = None,
) -> VideoSummary:
    """Derain the first video stream of a file into a new file.

    Every frame keeps its time, so rate (constant or not) and length stay; sound and metadata are
    copied; frames are stored upright, and with odd sides one pixel larger. Without PyAV there is
    no sound, and the rate is constant. ``target`` appears when it is complete, in place of what
    it was; on any error, Ctrl-C included, it stays as it was.

    Args:
        derainer: What removes the rain.
        source: A video that FFmpeg reads.
        target: Its suffix, .mp4, .m4v, .mov, .mkv or .webm, chooses the container.
        crf: Constant rate factor of the encoder, from 0 (best) to 51; ignored without PyAV.
        steady: Reduce flicker where nothing moves; see ``Steadier``.
        on_frame: Called after each frame that was written.

    Raises:
        VideoError: The source cannot be read or the target not written.
        UsageError: Unknown suffix, or ``crf`` out of range.
        SessionError: The engine failed.
    """
    with (
        closing(open_reader(Path(source))) as reader,
        destination(reader.info, file=Path(target), crf=crf, sound=reader) as writer,
    ):
        return derain_frames(derainer, reader, writer, steady=steady, on_frame=on_frame)


def derain_frames(
    derainer: Derainer,
    reader: Reader,
    writer: Writer,
    *,
    steady: bool = False,
    on_frame: Callable[[], object] | None = None,
) -> VideoSummary:
    """Derain all frames of an open video; see ``derain_video``.

    Reading, the engine and writing work at once, a few frames apart.
    """
    derain = steadily(derainer) if steady else derainer
    start, frames = time.perf_counter(), 0
    with ahead(reader) as items, ahead(derained(derain, items)) as results:
        for item in results:
            writer.write(item)
            if isinstance(item, Frame):
                frames += 1
                if on_frame is not None:
                    on_frame()
    return VideoSummary(
        frames=frames,
        damaged=reader.damaged,
        width=reader.info.width,
        height=reader.info.height,
        seconds=time.perf_counter() - start,
    )


def steadily(derain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return ``derain`` for the frames of one video in turn, followed by a ``Steadier``."""
    steadier = Steadier()
    return lambda rgb: steadier(derain(rgb))


def derained(derain: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield ``items`` with each frame's picture derained; sound is passed on."""
    for item in items:
        if isinstance(item, Frame):
            item = dataclasses.replace(item, rgb=derain(item.rgb))
        yield item
