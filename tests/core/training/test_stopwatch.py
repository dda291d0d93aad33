from collections.abc import Iterator

import pytest

from core.training.stopwatch import Stopwatch


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("core.training.stopwatch.monotonic", clock)
    return clock


def test_seconds_go_on_from_those_before(clock: _Clock) -> None:
    watch = Stopwatch(50.0)
    clock.now += 7
    assert watch.seconds == 57.0


def test_only_the_coming_of_items_is_waiting(clock: _Clock) -> None:
    def slow() -> Iterator[int]:
        for item in range(3):
            clock.now += 2.0
            yield item

    watch = Stopwatch()
    laps = []
    for item in watch.waits(slow()):
        clock.now += 6.0 if item < 2 else 1.0
        laps.append(watch.lap())
    assert laps == [2 / 8, 2 / 8, 2 / 3]
    assert watch.waiting == pytest.approx(6 / 19)


def test_no_time_at_all(clock: _Clock) -> None:
    watch = Stopwatch()
    assert list(watch.waits([1, 2])) == [1, 2]
    assert (watch.waiting, watch.lap()) == (0.0, 0.0)
