"""Derain for minutes on end: small boards are fast while they are cool."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_runtime.derainer import Derainer
from edge_runtime.report.board import BoardState, read_board
from edge_runtime.report.measure import Clock, noise_picture

_SENSE_SECONDS = 2.0
_PART = 0.1  # of all runs that "first" and "last" stand for


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """What a model does when it derains without a pause.

    Attributes:
        height: Of the picture in pixels; ``width`` likewise.
        seconds: How long it took in all. ``runs``: pictures derained.
        first_ms: Median of the first tenth of the runs. ``last_ms``: of the last tenth.
        median_ms: Of all. ``p95_ms``: their 95th percentile.
        hottest_c: Highest temperature seen, in degrees Celsius; None without sensors.
        throttled: Whatever slowed the processor down at any time; None where nothing tells.
    """

    height: int
    width: int
    seconds: float
    runs: int
    first_ms: float
    last_ms: float
    median_ms: float
    p95_ms: float
    hottest_c: float | None = None
    throttled: tuple[str, ...] | None = None


def measure_sustained(
    derainer: Derainer,
    height: int,
    width: int,
    seconds: float,
    *,
    tick: Callable[[float], None] = lambda _: None,
    clock: Clock = time.perf_counter,
    board: Callable[[], BoardState] = read_board,
) -> Sustained:
    """Derain one 8-bit picture over and over, at least once, for ``seconds``.

    Args:
        derainer: The opened model.
        height: Of the picture in pixels; ``width`` likewise.
        seconds: After which no new run begins.
        tick: Called after each run with the seconds since the start.
        clock: For tests. ``board``: likewise; asked every other second, outside of the runs.

    Raises:
        SessionError: The engine failed.
    """
    picture = noise_picture(height, width)
    times: list[float] = []
    states = [board()]
    start = sensed = clock()
    now = start
    while not times or now - start < seconds:
        before = clock()
        derainer(picture)
        now = clock()
        times.append((now - before) * 1000)
        if now - sensed >= _SENSE_SECONDS:
            states.append(board())
            sensed = now
        tick(now - start)
    part = max(round(len(times) * _PART), 1)
    median, p95 = np.percentile(times, [50, 95])
    temperatures = [s.temperature_c for s in states if s.temperature_c is not None]
    flags = [s.throttled for s in states if s.throttled is not None]
    return Sustained(
        height=height,
        width=width,
        seconds=now - start,
        runs=len(times),
        first_ms=float(np.median(times[:part])),
        last_ms=float(np.median(times[-part:])),
        median_ms=float(median),
        p95_ms=float(p95),
        hottest_c=max(temperatures, default=None),
        throttled=tuple(dict.fromkeys(flag for each in flags for flag in each)) if flags else None,
    )
