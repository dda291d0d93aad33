"""Jobs on videos and cameras, carried out in turn, and the record of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError, UsageError, VideoError
from edge_runtime.pictures.sources import STDIO
from edge_runtime.video.camera import Camera
from edge_runtime.video.derain import LiveSummary, VideoSummary, derain_frames, derain_live
from edge_runtime.video.outputs import CRF, destination
from edge_runtime.video.plan import MovingJob
from edge_runtime.video.reader import open_reader

_WHOLE = 0.95
"""Share of the frames that a video is said to hold from which on it is whole: some only guess."""
OnFrame = Callable[[int | None], object]
"""Called after each frame with the number of frames there are, as far as that is known."""


@dataclass(frozen=True)
class MovingOptions:
    """How frames are derained and stored.

    Attributes:
        steady: Reduce flicker where nothing moves.
        crf: Constant rate factor of files, from 0 (best) to 51.
        seconds: How long to go on with a camera; None has no limit.
    """

    steady: bool = False
    crf: int = CRF
    seconds: float | None = None


def derain_moving(
    derainer: Derainer,
    jobs: Sequence[MovingJob],
    options: MovingOptions,
    raw: BinaryIO,
    on_frame: OnFrame,
) -> Iterator[dict[str, Any]]:
    """Derain videos and cameras in turn, and yield the record of each.

    A record of what failed has the key ``error``; it has the others too where frames were written
    all the same, as of a camera that broke off. ``notes`` says what a result does not hold, or
    holds otherwise; it is there where there is something to say.

    Args:
        derainer: What removes the rain.
        jobs: What to derain.
        options: How to do it.
        raw: What ``STDIO`` stands for.
        on_frame: Called after each frame.

    Raises:
        UsageError: ``crf`` is out of range.
    """
    for job in jobs:
        try:
            derain = _derain_camera if job.live else _derain_clip
            yield derain(derainer, job, options, raw, on_frame)
        except UsageError:
            raise
        except EdgeDerainError as error:
            yield {"input": job.source, "error": str(error)}
        except MemoryError:
            yield {"input": job.source, "error": f"{job.source}: does not fit into memory"}


def _derain_clip(
    derainer: Derainer, job: MovingJob, options: MovingOptions, raw: BinaryIO, on_frame: OnFrame
) -> dict[str, Any]:
    target = raw if job.target == STDIO else job.target
    with (
        closing(open_reader(Path(job.source))) as reader,
        destination(reader.info, target, crf=options.crf, source=reader) as writer,
    ):
        _check_in_place(job, [*reader.notes, *writer.notes])
        summary = derain_frames(
            derainer,
            reader,
            writer,
            steady=options.steady,
            on_frame=lambda: on_frame(reader.info.frames),
        )
        lost = [f"{summary.damaged} damaged packets"] if summary.damaged else []
        if reader.info.frames and summary.frames < _WHOLE * reader.info.frames:
            lost.append(f"{summary.frames} of about {reader.info.frames} frames can be read")
        _check_in_place(job, [*summary.notes, *lost])
    record = {**_record(derainer, job, summary), "damaged_packets": summary.damaged}
    return {**record, "notes": list(summary.notes)} if summary.notes else record


def _check_in_place(job: MovingJob, notes: Sequence[str]) -> None:
    """Refuse to replace a video by a result that does not hold all of it."""
    try:
        replaces = job.target != STDIO and os.path.samefile(job.source, job.target)
    except OSError:  # there is no such file yet
        return
    if replaces and notes:
        raise VideoError(
            f"{job.source}: is not replaced ({notes[0]}); write the result elsewhere with -o"
        )


def _derain_camera(
    derainer: Derainer, job: MovingJob, options: MovingOptions, raw: BinaryIO, on_frame: OnFrame
) -> dict[str, Any]:
    target = raw if job.target == STDIO else job.target
    with (
        closing(Camera(job.source)) as camera,
        destination(camera.info, target, crf=options.crf) as writer,
    ):
        summary = derain_live(
            derainer,
            camera,
            writer,
            steady=options.steady,
            seconds=options.seconds,
            on_frame=lambda: on_frame(None),
        )
    record = {
        **_record(derainer, job, summary),
        "dropped": summary.dropped,
        "p50_ms": _rounded(summary.p50_ms),
        "p95_ms": _rounded(summary.p95_ms),
        "reconnects": summary.reconnects,
    }
    return record if summary.lost is None else {**record, "error": summary.lost}


def _record(
    derainer: Derainer, job: MovingJob, summary: VideoSummary | LiveSummary
) -> dict[str, Any]:
    return {
        "input": job.source,
        "output": str(job.target),
        "model": derainer.card.name,
        "precision": derainer.card.precision,
        "width": summary.width,
        "height": summary.height,
        "frames": summary.frames,
        "rain": round(summary.rain, 3),
        "milliseconds": round(summary.seconds * 1000, 3),
        "frames_per_second": round(summary.frames / max(summary.seconds, 1e-9), 3),
        "provider": derainer.session.provider,
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)


def describe(record: Mapping[str, Any]) -> list[str]:
    """Return the parts of the line about a record that has frames."""
    parts = [
        f"{record['model']} {record['precision']}",
        f"{record['width']}x{record['height']}",
        f"{record['frames']} frames",
        f"rain {record['rain']:.2f}",
        f"{record['frames_per_second']:.1f} frames/s",
        record["provider"],
    ]
    if record.get("damaged_packets"):
        parts.append(f"{record['damaged_packets']} damaged packets passed over")
    if "dropped" in record:
        parts.append(f"{record['dropped']} dropped")
    if record.get("p50_ms") is not None:
        parts.append(f"latency {record['p50_ms']:.0f} ms, p95 {record['p95_ms']:.0f} ms")
    if record.get("reconnects"):
        parts.append(f"{record['reconnects']} reconnects")
    return [*parts, record["output"]]
