from collections.abc import Iterator
from typing import Any, cast

from edge_runtime.derainer import Derainer
from edge_runtime.report.board import BoardState
from edge_runtime.report.endurance import measure_sustained


class Engine:
    """Derains in simulated time: the first runs take 125 ms, later ones 250."""

    def __init__(self, fast: int) -> None:
        self.now = 0.0
        self.left = fast

    def __call__(self, picture: Any) -> Any:
        assert picture.shape == (8, 12, 3)
        self.now += 0.125 if self.left > 0 else 0.25
        self.left -= 1
        return picture


def _measure(engine: Engine, seconds: float, states: Iterator[BoardState], **more: Any) -> Any:
    return measure_sustained(
        cast(Derainer, engine),
        8,
        12,
        seconds,
        clock=lambda: engine.now,
        board=lambda: next(states),
        **more,
    )


def _cool() -> Iterator[BoardState]:
    while True:
        yield BoardState()


def test_runs_go_on_for_the_time_and_slow_ones_show() -> None:
    seen: list[float] = []
    found = _measure(Engine(fast=40), 15.0, _cool(), tick=seen.append)
    assert found.runs == 80 == len(seen)
    assert found.seconds == 15 == seen[-1]
    assert (found.first_ms, found.last_ms) == (125, 250)
    assert found.median_ms == 187.5
    assert found.p95_ms == 250
    assert (found.hottest_c, found.throttled) == (None, None)


def test_one_run_is_always_made() -> None:
    assert _measure(Engine(fast=1), 0.0, _cool()).runs == 1


def test_heat_and_throttling_of_any_time_are_kept() -> None:
    states = iter(
        [
            BoardState(temperature_c=40.0, throttled=()),
            BoardState(temperature_c=81.5, throttled=("throttled",)),
            BoardState(temperature_c=80.0, throttled=("throttled", "frequency capped")),
        ]
    )
    found = _measure(Engine(fast=100), 5.0, states)
    assert found.hottest_c == 81.5
    assert found.throttled == ("throttled", "frequency capped")
