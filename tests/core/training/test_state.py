from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from torch import nn
from torch.optim.swa_utils import AveragedModel

from core.checkpoint import save_tensors
from core.errors import CheckpointError, TrainingError
from core.training.log import RunLog
from core.training.state import Stateful, Stopwatch, load_state, read_progress, save_state


class _Run:
    def __init__(self, width: int = 4, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, width), nn.Dropout(), nn.Linear(width, 1))
        self.average = AveragedModel(self.network)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.1)

    def state(self) -> Stateful:
        modules = {"network": self.network, "average": self.average}
        return Stateful(modules, {"optimizer": self.optimizer})

    def step(self) -> float:
        loss = self.network(torch.rand(5, 3)).square().mean()  # random data and random dropout
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return loss.item()


def test_a_restored_run_takes_the_same_steps(tmp_path: Path) -> None:
    run = _Run()
    for _ in range(3):
        run.step()
    progress = {"step": 3, "best": 1 / 3, "config": {"name": "a"}}
    save_state(tmp_path / "state", run.state(), progress)
    wanted = [run.step() for _ in range(3)]

    other = _Run(seed=9)
    assert load_state(tmp_path / "state", other.state()) == progress
    assert read_progress(tmp_path / "state") == progress
    assert [other.step() for _ in range(3)] == wanted
    for mine, theirs in zip(other.average.parameters(), run.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert other.average.n_averaged == 6


def test_state_of_another_network(tmp_path: Path) -> None:
    save_state(tmp_path / "state", _Run(width=4).state(), {})
    with pytest.raises(CheckpointError, match="state: belongs to another network") as caught:
        load_state(tmp_path / "state", _Run(width=5).state())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "progress": 5}']
)
def test_foreign_files(tmp_path: Path, header: str) -> None:
    metadata = {"edge_derain.training_state": header} if header else {}
    save_tensors(tmp_path / "state", {"x": torch.zeros(1)}, metadata)
    with pytest.raises(CheckpointError, match="not a training state of edge-derain"):
        read_progress(tmp_path / "state")


def test_other_schemas_and_torn_files(tmp_path: Path) -> None:
    path = tmp_path / "state"
    header = {"edge_derain.training_state": '{"schema": 2, "progress": {}}'}
    save_tensors(path, {"x": torch.zeros(1)}, header)
    with pytest.raises(CheckpointError, match="schema 2, this version reads 1"):
        read_progress(path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match="torn"):
        read_progress(path)


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
    monkeypatch.setattr("core.training.state.monotonic", clock)
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
