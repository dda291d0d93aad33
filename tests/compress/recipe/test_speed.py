"""What a plan takes for the speed of this machine."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from compress.cost import macs_per_pixel
from compress.recipe.speed import training_speed
from core.checkpoint import load_checkpoint
from core.config import build_config
from core.errors import ConfigError
from core.training.config import TrainConfig


@pytest.fixture
def training(train_values: dict[str, Any]) -> TrainConfig:
    return build_config(TrainConfig, train_values, "config")


def test_a_step_is_three_passes_over_the_batch(
    training: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.accumulate([0, 9, 1, 2, 1, 5])  # the fastest takes two seconds
    monkeypatch.setattr("compress.recipe.speed.perf_counter", lambda: next(clock))
    nano = load_checkpoint("nano")
    training = dataclasses.replace(training, batch_size=4, precision="auto")
    macs = macs_per_pixel(nano.build(), nano.config.size_multiple)
    pixels = 4 * training.mixture.crop**2
    assert training_speed(nano, training) == pytest.approx(3 * macs * pixels / 2)


def test_a_large_batch_is_not_timed_whole(training: TrainConfig, monkeypatch: Any) -> None:
    monkeypatch.setattr("compress.recipe.speed._MACS_AT_ONCE", 1.0)
    sizes: list[int] = []
    seconds = "compress.recipe.speed._seconds"
    monkeypatch.setattr(seconds, lambda fabric, step, rainy: sizes.append(len(rainy)) or 1.0)
    training_speed(load_checkpoint("nano"), dataclasses.replace(training, batch_size=64))
    assert set(sizes) == {1}


def test_a_device_that_is_not_there_is_named(training: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="accelerator mps"):
        training_speed(load_checkpoint("nano"), dataclasses.replace(training, accelerator="mps"))
