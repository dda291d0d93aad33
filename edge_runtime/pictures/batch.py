"""Carry out a batch: load, derain and save pictures at once, none of which can stop the others."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.derainer import Derainer
from edge_runtime.engines.session import Batch, Session
from edge_runtime.engines.stages import counted_stages
from edge_runtime.errors import EdgeDerainError, ImageError
from edge_runtime.memory import (
    MemoryGate,
    MemoryPlan,
    picture_cost,
    plan_without_limit,
    return_large_blocks_at_once,
)
from edge_runtime.pictures.compare import compare, difference
from edge_runtime.pictures.picture import (
    MAX_PIXELS,
    Picture,
    check_suffix,
    decode_picture,
    encode_picture,
    read_file,
    write_picture,
)
from edge_runtime.pictures.pipeline import Step, run_pipeline
from edge_runtime.pictures.plan import Job
from edge_runtime.pictures.sources import STDIO
from edge_runtime.quantities import Workers

VIEWS: dict[str, Callable[[Picture, Picture], Picture]] = {
    "derained": lambda rainy, derained: derained,
    "compare": compare,
    "diff": difference,
}
"""What is written of each picture, made of the rainy and the derained one."""


@dataclass(frozen=True)
class Settings:
    """How a batch is carried out.

    Attributes:
        view: A key of ``VIEWS``.
        quality: Of JPEG, WebP and AVIF, 1 to 100; None follows the input.
        max_pixels: Larger pictures are refused before they are decoded.
        workers: Threads of each step.
        memory: How much tiles and pictures may take; None does not limit it tightly.
    """

    view: str = "derained"
    quality: int | None = None
    max_pixels: int = MAX_PIXELS
    workers: Workers = field(default_factory=Workers)
    memory: MemoryPlan | None = None


@dataclass
class Outcome:
    """What became of one picture.

    Attributes:
        job: What was asked for.
        error: What went wrong, in one line, or None.
        width: Of the picture in pixels; ``height`` likewise. 0 while it is not read.
        seconds: That the engine took, with the conversion of pixels.
        stages: The most that a part of it took, of a model that is run in stages, or None.
    """

    job: Job
    error: str | None = None
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    stages: int | None = None
    _turn: int = 0
    _cost: int = 0
    _picture: Picture | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.job.source == STDIO else str(self.job.source)

    @property
    def is_to_stdout(self) -> bool:
        """Whether the picture itself is written to standard output."""
        return self.job.target == STDIO

    def record(self, derainer: Derainer) -> dict[str, Any]:
        """Return what JSON output says about it."""
        if self.error is not None:
            return {"input": str(self.job.source), "error": self.error}
        staged = {} if self.stages is None else {"stages": self.stages}
        return {
            "input": str(self.job.source),
            "output": str(self.job.target),
            "model": derainer.card.name,
            "precision": derainer.card.precision,
            "width": self.width,
            "height": self.height,
            "milliseconds": round(self.seconds * 1000, 3),
            "provider": derainer.session.provider,
            **staged,
        }


def derain_batch(
    derainer: Derainer, jobs: Iterable[Job], settings: Settings | None = None
) -> Generator[Outcome, None, None]:
    """Derain pictures and yield what became of each, in order.

    Loading, inference and saving overlap. Closing the iterator, or an interrupt, ends the
    inference after the tile that it is at, lets what is being written be written, and starts
    nothing more.

    Args:
        derainer: The opened model.
        jobs: From ``batch.plan``.
        settings: How.
    """
    worker = _Worker(derainer, settings or Settings())
    workers = worker.settings.workers
    steps = [
        Step(worker.step(worker.load), workers.load),
        Step(worker.step(worker.infer), workers.infer),
        Step(worker.step(worker.save, last=True), workers.save),
    ]
    outcomes = (Outcome(job, _turn=turn) for turn, job in enumerate(jobs))
    return run_pipeline(outcomes, steps, worker.stop)


class _Worker:
    def __init__(self, derainer: Derainer, settings: Settings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        memory = settings.memory or plan_without_limit()
        self._gate = MemoryGate(memory, self.stop)
        return_large_blocks_at_once(strictly=memory.strict)
        session = _StoppableSession(derainer.session, self.stop)
        self._derainer = derainer.with_session(session, memory.window_pixels)

    def step(
        self, function: Callable[[Outcome], None], *, last: bool = False
    ) -> Callable[[Outcome], Outcome]:
        """Return a step that passes over failed pictures and notes what fails in this one."""

        def run(outcome: Outcome) -> Outcome:
            try:
                if outcome.error is None:
                    function(outcome)
            except EdgeDerainError as error:
                outcome.error = str(error)
            except MemoryError:
                outcome.error = f"{outcome.name}: does not fit into memory; reduce or split it"
            if outcome.error is not None or last:
                outcome._picture = None
                self._gate.leave(outcome._cost)
                outcome._cost = 0
            return outcome

        return run

    def load(self, outcome: Outcome) -> None:
        data, cost = b"", 0
        try:
            if outcome.job.target != STDIO:
                check_suffix(outcome.job.target)
            data = _read(outcome.job.source)
            cost = picture_cost(data, outcome.job.target.suffix.lower())
        finally:  # those behind wait for this turn, whatever came of it
            self._gate.enter(outcome._turn, cost, outcome.name)
        outcome._cost = cost
        picture = decode_picture(data, outcome.name, max_pixels=self.settings.max_pixels)
        outcome.height, outcome.width = picture.rgb.shape[:2]
        outcome._picture = picture

    def infer(self, outcome: Outcome) -> None:
        rainy = outcome._picture
        assert rainy is not None
        start = time.perf_counter()
        with counted_stages() as stages:
            rgb = self._derainer(rainy.rgb)
        outcome.seconds = time.perf_counter() - start
        outcome.stages = max(stages, default=None)
        derained = dataclasses.replace(rainy, rgb=rgb)
        outcome._picture = VIEWS[self.settings.view](rainy, derained)

    def save(self, outcome: Outcome) -> None:
        picture, target = outcome._picture, outcome.job.target
        assert picture is not None
        if target == STDIO:
            suffix = outcome.job.format or picture.format or ".png"
            data = encode_picture(picture, suffix, "standard output", quality=self.settings.quality)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        _make_folder(target.parent)
        write_picture(target, picture, quality=self.settings.quality)


class _StoppableSession:
    """A session that starts no further run once it is told to stop."""

    def __init__(self, session: Session, stop: threading.Event) -> None:
        self.name = session.name
        self.provider = session.provider
        self._session = session
        self._stop = stop

    def run(self, batch: Batch) -> Batch:
        if self._stop.is_set():
            raise InterruptedError
        return self._session.run(batch)


def _read(source: Path) -> bytes:
    return sys.stdin.buffer.read() if source == STDIO else read_file(source)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"{folder}: cannot be made ({error.strerror}); choose another with -o"
        ) from None
