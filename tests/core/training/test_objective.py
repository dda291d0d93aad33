"""The objective of plain training, and the seam that another one goes through."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.checkpoint import save_checkpoint
from core.config import build_config
from core.errors import ConfigError
from core.mixture.sample import Kind, Sample, to_float
from core.quantization import Quantization
from core.training.config import TrainConfig
from core.training.learner import Learner
from core.training.losses import LossConfig, reconstruction_loss
from core.training.objective import Objective
from core.training.train import train


class _Shift(Objective):
    """Learns a shift of the clean pictures beside the network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(LossConfig())
        self.learned = nn.Linear(1, 1)
        self.verb, self.note, self.data = "shift", "by a line", ("elsewhere",)
        self.network = [network]

    def observe(self, batch: Sample) -> dict[str, torch.Tensor]:
        return {"shift": self.learned(torch.ones(1, 1))[0, 0]}

    def forward(self, derained: Any, batch: Sample, observed: Any) -> dict[str, torch.Tensor]:
        loss = (derained - to_float(batch.clean) - observed["shift"]).abs().mean()
        return {"loss": loss, "shift": observed["shift"]}


@pytest.fixture
def config(train_values: dict[str, Any]) -> TrainConfig:
    return build_config(TrainConfig, train_values, "config")


def _batch() -> Sample:
    rainy = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    kinds = torch.full((2,), int(Kind.PAIR))
    return Sample(rainy, rainy // 2, kinds, torch.empty(2, 0, dtype=torch.uint8))


def test_by_default_it_is_the_difference_to_the_clean_pictures() -> None:
    loss, batch = LossConfig(l1=0.5, mse=2.0), _batch()
    objective = Objective(loss)
    derained = torch.rand(2, 3, 16, 16)
    losses = objective(derained, batch, objective.observe(batch))
    assert losses == {"loss": reconstruction_loss(derained, to_float(batch.clean), loss)}
    assert not list(objective.parameters())


def test_what_it_learns_is_trained_saved_and_named(config: TrainConfig) -> None:
    learner = Learner(config, _Shift)
    assert learner.objective.network[0] is learner.module  # type: ignore[index]
    before = learner.objective.learned.weight.clone()  # type: ignore[operator, union-attr]
    assert set(learner.update(_batch(), 0)) == {"loss", "shift"}
    assert not torch.equal(learner.objective.learned.weight, before)  # type: ignore[arg-type]
    assert learner.state().modules["objective"] is learner.objective.learned
    assert "objective" not in Learner(config).state().modules
    checkpoint = learner.checkpoint(1, 0.0)
    assert checkpoint.recipe[0].startswith("shift: student from scratch, 1 of 4 steps of 2 x 16")
    assert checkpoint.recipe[0].endswith("seed 0, by a line")
    assert checkpoint.data == ("dry", "elsewhere", "pairs")
    assert set(checkpoint.weights) == set(learner.module.state_dict())


def test_the_network_starts_with_the_weights_of_plain_training(config: TrainConfig) -> None:
    plain, other = Learner(config).module, Learner(config, _Shift).module
    assert all(map(torch.equal, plain.state_dict().values(), other.state_dict().values()))


def test_a_run_resumes_with_its_objective_only(config: TrainConfig) -> None:
    result = train(config, progress=False, objective=_Shift)
    rows = (result.folder / "logs/metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows if ",shift," in row] == ["1", "2", "3", "4"]
    with pytest.raises(ConfigError, match=r"of another run \(objective by a line -> plain\)"):
        train(config, resume=True, progress=False)
    assert train(config, resume=True, progress=False, objective=_Shift).step == 4


def test_plain_training_refuses_pictures_without_a_clean_version(config: TrainConfig) -> None:
    part = dataclasses.replace(config.mixture.parts[2], rain="unlabelled")
    mixture = dataclasses.replace(config.mixture, parts=(part,))
    with pytest.raises(ConfigError, match=r"'dry' has no clean pictures.*distill --teacher CKPT$"):
        Learner(dataclasses.replace(config, mixture=mixture))


def test_what_a_start_says_of_itself_stays(config: TrainConfig, tmp_path: Path) -> None:
    start = dataclasses.replace(
        Learner(config).checkpoint(1, 0.0), name="a", quantization=Quantization("fp16")
    )
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, start)
    learner = Learner(dataclasses.replace(config, init=str(path), name="b"))
    found = learner.checkpoint(1, 0.0)
    assert (found.name, found.quantization) == ("b", start.quantization)
    picture = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(learner.module.eval()(picture), start.build()(picture))
