"""Videos and live sources, derained frame by frame in constant memory."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.derainer import Derainer, InTurn
from edge_runtime.errors import SourceLostError
from edge_runtime.prefetch import ahead
from edge_runtime.video.camera import Camera, Newest
from edge_runtime.video.frames import Frame, Writer
from edge_runtime.video.outputs import CRF, destination
from edge_runtime.video.reader import AvReader, open_reader

_REMEMBERED = 100_000
"""How many latencies are kept for the percentiles: the last ones."""


@dataclass(frozen=True)
class VideoSummary:
    """What became of a video.

    Attributes:
        frames: How many were derained and written.
        damaged: Packets of the source that could not be decoded and were passed over.
        width: Pixels of a frame; ``height`` likewise.
        seconds: From the first frame to the last.
        notes: What the result does not hold, or holds otherwise, in words.
    """

    frames: int
    damaged: int
    width: int
    height: int
    seconds: float
    rain: float
    notes: tuple[str, ...] = ()


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
    copied; frames are stored upright, and with odd sides one pixel larger. ``target`` appears when
    it is complete, in place of what it was; on any error, Ctrl-C included, it stays as it was.

    Args:
        derainer: What removes the rain.
        source: A video that FFmpeg reads.
        target: Its suffix, .mp4, .m4v, .mov, .mkv or .webm, chooses the container.
        crf: Constant rate factor of the encoder, from 0 (best) to 51.
        steady: Reduce flicker where nothing moves; see ``Steadier``.
        on_frame: Called after each frame that was written.

    Raises:
        VideoError: The source cannot be read or the target not written.
        UsageError: Unknown suffix, or ``crf`` out of range.
        MissingExtraError: PyAV is not installed.
        SessionError: The engine failed.
    """
    with (
        closing(open_reader(Path(source))) as reader,
        destination(reader.info, Path(target), crf=crf, source=reader) as writer,
    ):
        return derain_frames(derainer, reader, writer, steady=steady, on_frame=on_frame)


def derain_frames(
    derainer: Derainer,
    reader: AvReader,
    writer: Writer,
    *,
    steady: bool = False,
    on_frame: Callable[[], object] | None = None,
) -> VideoSummary:
    """Derain all frames of an open video; see ``derain_video``.

    Reading, the engine and writing work at once, a few frames apart.
    """
    derain = InTurn(derainer, steady=steady)
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
        rain=derain.rain / max(derain.frames, 1),
        notes=(*reader.notes, *writer.notes),
    )


def derained(derain: InTurn, items: Iterable[Any]) -> Iterator[Any]:
    """Yield ``items`` with each frame's picture derained; sound is passed on."""
    for item in items:
        if isinstance(item, Frame):
            item = dataclasses.replace(item, rgb=derain(item.rgb, float(item.time)))
        yield item


@dataclass(frozen=True)
class LiveSummary:
    """How a live source went.

    Attributes:
        frames: How many were derained and written.
        dropped: How many arrived while the one before was in work, and were left out.
        reconnects: How often the source was opened again.
        width: Pixels of a frame; ``height`` likewise.
        seconds: From the first frame to the end.
        rain: Mean rain score of the frames, 0 to 1.
        p50_ms: Median latency in milliseconds, from the arrival of a frame to its being written;
            None without a frame. ``p95_ms`` likewise.
        lost: What made the source break off for good; None where it ended otherwise.
    """

    frames: int
    dropped: int
    reconnects: int
    width: int
    height: int
    seconds: float
    rain: float
    p50_ms: float | None
    p95_ms: float | None
    lost: str | None


def derain_live(
    derainer: Derainer,
    source: Camera,
    writer: Writer,
    *,
    steady: bool = False,
    seconds: float | None = None,
    on_frame: Callable[[], object] | None = None,
) -> LiveSummary:
    """Derain the frames of a live source until it ends, ``seconds`` passed, or Ctrl-C.

    The engine always takes the newest frame; those that arrived meanwhile are dropped. Writing
    overlaps with the engine by one frame. That the source breaks off is an end like the others,
    since what was written so far is worth keeping; the summary tells.

    Args:
        derainer: What removes the rain.
        source: Where frames come from; it is closed at the end.
        writer: Where they go; it is not.
        steady: Reduce flicker where nothing moves; see ``Steadier``.
        seconds: How long to go on; None has no limit.
        on_frame: Called after each frame that was written.

    Raises:
        VideoError: A frame cannot be written.
        SessionError: The engine failed.
    """
    derain = InTurn(derainer, steady=steady)
    latencies: deque[float] = deque(maxlen=_REMEMBERED)
    frames, start, lost = 0, source.seconds(), None
    newest = Newest(source)
    try:
        # Left in this order, so that the engine's thread is not waiting for a frame any more.
        with ahead(derained(derain, newest), depth=1) as results, newest, closing(source):
            for frame in results:
                writer.write(frame)
                frames += 1
                now = source.seconds()
                latencies.append(now - float(frame.time))
                if on_frame is not None:
                    on_frame()
                if seconds is not None and now - start >= seconds:
                    break
    except KeyboardInterrupt:
        pass  # the usual way to end a recording
    except SourceLostError as error:
        lost = str(error)
    p50, p95 = _percentiles(latencies)
    return LiveSummary(
        frames=frames,
        dropped=newest.dropped,
        reconnects=source.reconnects,
        width=source.info.width,
        height=source.info.height,
        seconds=source.seconds() - start,
        rain=derain.rain / max(derain.frames, 1),
        p50_ms=p50,
        p95_ms=p95,
        lost=lost,
    )


def _percentiles(latencies: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Return the 50th and 95th percentile of seconds, in milliseconds."""
    if not latencies:
        return None, None
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    return float(p50), float(p95)
