from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from core.errors import TrainingError
from core.training.log import RunLog, Stopwatch


def _log(folder: Path, start: int, steps: range) -> None:
    with RunLog(folder, start) as log:
        for step in steps:
            log.write(step, {"loss": step / 3, "learning_rate": 0.5})


def _table(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()


def test_table_by_hand(tmp_path: Path) -> None:
    with RunLog(tmp_path / "logs", 0) as log:
        log.write(1, {"loss": 0.1, "a, b": 2})
    assert _table(tmp_path / "logs") == ["step,name,value", "1,loss,0.1", '1,"a, b",2.0']


def test_resuming_gives_what_an_uninterrupted_run_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TensorBoard counts the files of a process and reads them in the order of their names, where 10
    # comes before 9. Runs that are resumed are another process, a second or more later.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    _log(tmp_path / "whole", 0, range(1, 9))
    _log(tmp_path / "parts", 0, range(1, 6))  # killed at 5, its last state is of step 3
    with (tmp_path / "parts/metrics.csv").open("a") as file:
        file.write("6,lo")
    _log(tmp_path / "parts", 3, range(4, 9))
    assert _table(tmp_path / "parts") == _table(tmp_path / "whole")

    events = EventAccumulator(str(tmp_path / "parts"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(
        [step / 3 for step in range(1, 9)]
    )


def test_a_run_from_the_start_starts_afresh(tmp_path: Path) -> None:
    _log(tmp_path, 0, range(1, 5))
    _log(tmp_path, 0, range(1, 2))
    assert len(_table(tmp_path)) == 3


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"metrics\.csv: cannot be written"):
        RunLog(tmp_path / "file/logs", 0)


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("core.training.log.monotonic", clock)
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
