"""The small data sets and runs of the training side, and a teacher for them."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.distillation import DistillConfig
from core.checkpoint import Checkpoint, save_checkpoint
from core.config import build_config, network_config
from core.networks import ARCHITECTURES
from core.training.learner import Learner
from tests.core.conftest import data_root, picture, train_values

__all__ = ["data_root", "picture", "train_values"]

NETWORKS: dict[str, dict[str, Any]] = {
    "student": {"widths": [8, 16], "encoder_blocks": [1, 1], "decoder_blocks": [1]},
    "gan_lstm": {"width": 4, "stages": 2, "blocks": 3, "radius": 1, "attention": "spatial"},
    "deconv": {"widths": [4, 8]},
    "jorder": {"width": 4, "stages": 2, "refinements": 2},
    "rescan": {"width": 4, "depth": 5, "stages": 2},
}


@pytest.fixture
def make_teacher(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_teacher, tmp_path)


def write_teacher(folder: Path, architecture: str = "student", **network: Any) -> Path:
    """Write a checkpoint of random weights, none of them zero."""
    config = network_config(architecture, {**NETWORKS[architecture], **network})
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = ARCHITECTURES[architecture].module(config)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    path = folder / f"{architecture}.safetensors"
    weights = module.state_dict()
    save_checkpoint(
        path, Checkpoint("wise", "teacher", architecture, config, weights, data=("library",))
    )
    return path


@pytest.fixture
def distill_config(train_values: dict[str, Any]) -> Callable[..., DistillConfig]:
    """Return a function that changes top-level values of a small run."""

    def make(**values: Any) -> DistillConfig:
        return build_config(DistillConfig, {**train_values, **values}, "config")

    return make


def stopping_at(
    step: int, of: str = "", number: signal.Signals = signal.SIGINT
) -> Callable[..., Any]:
    """Return an ``update`` of learners that a signal interrupts, in runs whose name ends so."""
    update = Learner.update

    def stopping(self: Learner, batch: Any, at: int) -> Any:
        losses = update(self, batch, at)
        if at == step and self.config.name.endswith(of):
            signal.raise_signal(number)
        return losses

    return stopping
