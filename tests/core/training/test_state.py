from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from core.checkpoint import save_tensors
from core.errors import CheckpointError
from core.training.state import Stateful, load_state, read_progress, save_state


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
