import threading
import time

import pytest

from edge_runtime.pictures.pipeline import Step, run_pipeline


def test_order_is_kept_with_many_workers() -> None:
    def slow_when_even(value: int) -> int:
        time.sleep(0.002 * (value % 2 == 0))
        return value

    steps = [Step(slow_when_even, 4), Step(lambda value: value * 10, 2)]
    assert list(run_pipeline(range(40), steps, threading.Event())) == list(range(0, 400, 10))


def test_steps_overlap() -> None:
    # The first step of the second item must run while the first item is in the second step.
    second_loaded = threading.Event()

    def load(value: int) -> int:
        if value == 1:
            second_loaded.set()
        return value

    def infer(value: int) -> bool:
        return second_loaded.wait(10)

    assert all(run_pipeline(range(2), [Step(load), Step(infer)], threading.Event()))


def test_no_more_items_are_under_way_than_there_is_room_for() -> None:
    taken = []

    def items():  # type: ignore[no-untyped-def]
        for value in range(100):
            taken.append(value)
            yield value

    results = run_pipeline(items(), [Step(str), Step(str)], threading.Event())
    assert next(results) == "0"
    assert len(taken) == 4  # a worker and one waiting for each of two steps
    results.close()


def test_a_failure_comes_in_its_turn() -> None:
    results = run_pipeline([2, 1, 0], [Step(lambda value: 2 // value)], threading.Event())
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_leaving_waits_for_what_runs_and_starts_nothing_more() -> None:
    stop, started, finished = threading.Event(), [], []

    def save(value: int) -> int:
        started.append(value)
        if value:
            stop.wait(10)
            time.sleep(0.02)
        finished.append(value)
        return value

    results = run_pipeline(range(50), [Step(save)], stop)
    next(results)
    time.sleep(0.02)
    results.close()
    assert stop.is_set()
    assert started == finished
    assert len(started) <= 2
