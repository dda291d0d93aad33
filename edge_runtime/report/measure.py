"""Latency and peak memory of an opened model.

A number without its method says nothing, so what is returned here carries it: runs to warm up,
runs counted, threads, machine, versions. Compare ratios within one run; machines are noisy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.derainer import Derainer
from edge_runtime.engines.base import Batch, Session
from edge_runtime.errors import EdgeDerainError, SessionError

Clock = Callable[[], float]
"""Returns seconds, as ``time.perf_counter`` does."""

WARM_UP = 2
REPEATS = 10


@dataclass(frozen=True)
class Latency:
    """How long one picture takes, from pixels to pixels.

    Attributes:
        height: Of the picture in pixels; ``width`` likewise.
        warm_up: Runs before the first that counts. ``repeats``: runs that count.
        median_ms: Median of a whole call, with the conversion of pixels.
        p95_ms: 95th percentile of the same.
        engine_ms: Median of the part that the engine takes.
    """

    height: int
    width: int
    warm_up: int
    repeats: int
    median_ms: float
    p95_ms: float
    engine_ms: float


@dataclass(frozen=True)
class InProcess:
    """What a function did in a process of its own.

    Attributes:
        result: What it returned.
        peak_bytes: The most that the process held, interpreter and libraries included.
    """

    result: Any
    peak_bytes: int


class TimedSession:
    """A session that adds up the seconds spent in the engine.

    Attributes:
        seconds: Since it was made or last set to 0.
    """

    def __init__(self, session: Session, clock: Clock = time.perf_counter) -> None:
        self.name = session.name
        self.provider = session.provider
        self.seconds = 0.0
        self._session = session
        self._clock = clock

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        start = self._clock()
        try:
            return self._session.run(batch)
        finally:
            self.seconds += self._clock() - start


def measure_latency(
    derainer: Derainer,
    height: int,
    width: int,
    *,
    warm_up: int = WARM_UP,
    repeats: int = REPEATS,
    clock: Clock = time.perf_counter,
) -> Latency:
    """Measure how long ``derainer`` takes for one 8-bit picture of this size.

    Args:
        derainer: The opened model; its tile and threads count.
        height: Of the picture in pixels; ``width`` likewise.
        warm_up: Runs that do not count, at least 0.
        repeats: Runs that count, at least 1.
        clock: For tests.

    Raises:
        SessionError: The engine failed.
    """
    session = TimedSession(derainer.session, clock)
    timed = derainer.with_session(session)
    picture = noise_picture(height, width)
    whole, engine = [], []
    for run in range(warm_up + repeats):
        session.seconds = 0.0
        start = clock()
        timed(picture)
        seconds = clock() - start
        if run >= warm_up:
            whole.append(seconds)
            engine.append(session.seconds)
    median, p95 = np.percentile(whole, [50, 95]) * 1000
    return Latency(
        height=height,
        width=width,
        warm_up=warm_up,
        repeats=repeats,
        median_ms=float(median),
        p95_ms=float(p95),
        engine_ms=float(np.median(engine) * 1000),
    )


def noise_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Return the same HWC uint8 RGB noise every time: no engine can save work on it."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def peak_memory_of(function: Callable[..., Any], *arguments: Any) -> InProcess:
    """Call ``function(*arguments)`` in a fresh process and return the most that it held.

    Args:
        function: One of a module's own, which the fresh process imports. Import what is heavy
            inside it where that should count from zero.
        arguments: What can be pickled; so must the result be.

    Raises:
        SessionError: The function failed, and this says what; or the process died.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_in_process, function, arguments).result()
        except BrokenProcessPool:
            raise SessionError(
                f"{function.__qualname__}: its process died; it may need more memory than there is"
            ) from None


def derain_noise(model: str, height: int, width: int, threads: int | None = None) -> Latency:
    """Load a model and derain one noise picture once, for ``peak_memory_of``.

    Args:
        model: As ``Derainer.load`` takes it; so is ``threads``.
        height: Of the picture in pixels; ``width`` likewise.
    """
    derainer = Derainer.load(model, threads=threads)
    return measure_latency(derainer, height, width, warm_up=0, repeats=1)


def _in_process(function: Callable[..., Any], arguments: tuple[Any, ...]) -> InProcess:
    try:
        result = function(*arguments)
    except EdgeDerainError as error:  # of any class, which need not survive pickling
        raise SessionError(str(error)) from None
    return InProcess(result, _peak_bytes())


def _peak_bytes() -> int:
    """Return the most that this process held; 0 where the system does not tell.

    Linux counts what the process held before it became this program in ``ru_maxrss`` too.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
        )
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
