"""Losses that a network has of its own, through the learner."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import load_checkpoint, save_checkpoint
from core.config import build_config
from core.mixture.sample import Kind, Sample, to_float
from core.networks.auxiliary import auxiliary_losses
from core.networks.rescan import Rescan, RescanConfig
from core.quantization import Quantization
from core.training.config import TrainConfig
from core.training.learner import Learner
from core.training.losses import LossConfig, reconstruction_loss
from core.training.objective import Objective
from core.training.train import train

LOSS = LossConfig(l1=1.0, mse=2.0)


@pytest.fixture
def config(train_values: dict[str, Any]) -> TrainConfig:
    """A run of a RESCAN of three stages, on one step that changes something."""
    values = {
        **train_values,
        "architecture": "rescan",
        "network": {"width": 4, "depth": 3, "stages": 3},
        "loss": {"l1": LOSS.l1, "mse": LOSS.mse},
    }
    return build_config(TrainConfig, values, "config")


def _batch(*kinds: Kind) -> Sample:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(
        256, (2, len(kinds), 3, 16, 16), generator=generator, dtype=torch.uint8
    )
    nothing = torch.empty(len(kinds), 0, dtype=torch.uint8)
    return Sample(pictures[0], pictures[1], torch.tensor([int(k) for k in kinds]), nothing)


def _network(seed: int = 0) -> Rescan:
    torch.manual_seed(seed)
    net = Rescan(RescanConfig(width=4, depth=3, stages=3))
    torch.nn.init.normal_(net.exit.weight, std=0.2)
    return net


def _loss(picture: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    return reconstruction_loss(picture, clean, LOSS)


def _losses(net: Rescan, batch: Sample) -> dict[str, torch.Tensor]:
    _, outputs = net.forward_auxiliary(to_float(batch.rainy))
    return auxiliary_losses(net, outputs, batch, _loss)


@torch.no_grad()
def test_pictures_without_a_clean_version_say_nothing() -> None:
    net, batch = _network(), _batch(Kind.PAIR, Kind.UNLABELLED, Kind.DRY, Kind.UNLABELLED)
    found = _losses(net, batch)
    pairs = Sample(batch.rainy[::2], batch.clean[::2], batch.kind[::2], batch.taught[::2])
    wanted = sum(
        _loss(stage, to_float(pairs.clean)) for stage in net.stages(to_float(pairs.rainy))[:-1]
    )
    torch.testing.assert_close(found["stages"], 0.5 * wanted)  # half of the samples


def test_without_any_clean_picture_there_are_zeros_for_every_weight() -> None:
    net = _network()
    losses = _losses(net, _batch(Kind.UNLABELLED))
    assert losses == {"stages": 0}
    losses["stages"].backward()  # type: ignore[no-untyped-call]
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert not weight.grad.any(), name


def test_a_step_makes_the_sum_small(config: TrainConfig) -> None:
    learner, batch = Learner(config), _batch(Kind.PAIR, Kind.DRY)
    losses = learner.update(batch, 0)
    assert set(losses) == {"loss", "stages"}
    # Untrained, every stage returns its input.
    one = reconstruction_loss(to_float(batch.rainy), to_float(batch.clean), LOSS)
    torch.testing.assert_close(losses["stages"], 2 * one)
    torch.testing.assert_close(losses["loss"], 3 * one)
    before = losses["loss"]
    for step in range(1, 4):
        losses = learner.update(batch, step)
    assert losses["loss"] < before


def test_parts_of_a_batch_make_the_same_step(config: TrainConfig) -> None:
    once, twice = (Learner(dataclasses.replace(config, accumulate=n)) for n in (1, 2))
    batch = _batch(Kind.PAIR, Kind.PAIR)
    for step in range(2):
        losses = [learner.update(batch, step) for learner in (once, twice)]
        torch.testing.assert_close(losses[0]["stages"], losses[1]["stages"])
    pairs = zip(once.module.parameters(), twice.module.parameters(), strict=True)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in pairs)


def test_they_weigh_as_much_as_clean_pictures_do(config: TrainConfig) -> None:
    def quiet(network: Any) -> Objective:
        objective = Objective(LOSS)
        objective.clean_weight = 0.25
        return objective

    batch = _batch(Kind.PAIR, Kind.PAIR)
    full = Learner(config).update(batch, 0)
    quarter = Learner(config, quiet).update(batch, 0)
    torch.testing.assert_close(quarter["stages"], full["stages"] / 4)
    torch.testing.assert_close(quarter["loss"], full["loss"] - 0.75 * full["stages"])


def test_other_arithmetic_trains_on_the_result_alone(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    start = Learner(config).checkpoint(0, 0.0)
    save_checkpoint(path, dataclasses.replace(start, quantization=Quantization("fp16")))
    assert load_checkpoint(path).precision == "fp16"
    learner = Learner(dataclasses.replace(config, init=str(path)))
    assert learner._auxiliary is None


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_logs_them(config: TrainConfig, precision: Any) -> None:
    result = train(dataclasses.replace(config, precision=precision), progress=False)
    rows = (result.folder / "logs/metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows if ",stages," in row] == ["1", "2", "3", "4"]
    best = load_checkpoint(result.folder / "best.safetensors")
    assert best.build()(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5, 7)
