"""Calibration: what is seen, and which scales are made of it."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from compress.distillation import DistillConfig
from compress.quantization.calibrate import (
    BINS,
    METHODS,
    Observed,
    calibration_crops,
    choose_scales,
    observe,
)
from core.errors import ConfigError, DataError
from core.mixture.config import PartConfig
from core.mixture.dataset import MixtureDataset
from core.networks.student import StudentConfig, StudentNet
from core.pairs import SourceConfig
from core.quantization import Placement, TensorScale, fake_quantize


def _seen(values: np.ndarray) -> Observed:
    low, high = float(values.min()), float(values.max())
    return Observed(low, high, np.histogram(values, BINS, (low, high))[0], channels=1, dead=0)


@pytest.fixture
def crops() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(60, 200, (20, 3, 16, 16), generator=generator, dtype=torch.uint8)
    crops[-1, :, :8], crops[-1, :, 8:] = 0, 255  # the extremes come last
    return crops


def _network() -> StudentNet:
    torch.manual_seed(0)
    net = StudentNet(StudentConfig((8, 8), (1, 1), (1,)))
    nn.init.normal_(net.exit.weight, std=0.1)
    return net


def test_everything_is_seen(crops: torch.Tensor) -> None:
    net = _network()
    seen = observe(net, crops, progress=False)
    assert seen.keys() == set(Placement(net).stored.values())
    with torch.no_grad():
        rainy = crops.float() / 255
        entry = torch.relu(net.entry(rainy))
    for name, tensor in (("rainy", rainy), ("entry", entry)):
        assert (seen[name].low, seen[name].high) == pytest.approx(
            (float(tensor.min()), float(tensor.max())), abs=1e-6
        )
        assert seen[name].counts.sum() == tensor.numel()
        assert seen[name].channels == tensor.shape[1]
    wanted = np.histogram(rainy.numpy(), BINS, (0, 1))[0]
    assert np.abs(seen["rainy"].counts - wanted).sum() <= 20  # on the edges of bins


def test_the_picture_is_stored_without_loss(crops: torch.Tensor) -> None:
    dim = crops // 2
    for method in METHODS:
        stored = choose_scales(observe(_network(), dim, progress=False), method, False)["rainy"]
        levels = torch.arange(256) / 255
        found = fake_quantize(levels, stored.scale, stored.zero_point)
        torch.testing.assert_close(found, levels, atol=1e-7, rtol=0)


def test_units_that_never_open_are_counted(crops: torch.Tensor) -> None:
    net = _network()
    assert net.entry.bias is not None
    net.entry.bias.data[2:5] = -100
    seen = observe(net, crops, progress=False)
    assert seen["entry"].dead == 3
    # Negative values without a ReLU are alive.
    assert net.exit.bias is not None
    net.exit.bias.data[:] = -100
    assert observe(net, crops, progress=False)["exit"].dead == 0


def test_minmax_covers_all() -> None:
    seen = _seen(np.random.default_rng(0).normal(size=9999))
    assert seen.range("minmax") == (seen.low, seen.high)
    assert seen.saturated(TensorScale.of_range(seen.low, seen.high)) == 0


def test_percentile_gives_up_the_tails() -> None:
    values = np.linspace(-1, 1, 100_001)
    values[:5], values[-5:] = -50, 80
    low, high = _seen(values).range("percentile")
    assert low == pytest.approx(-1, abs=0.1)
    assert high == pytest.approx(1, abs=0.1)
    both = _seen(values)
    assert both.saturated(TensorScale.of_range(low, high)) == pytest.approx(1e-4, abs=2e-5)
    assert both.saturated(TensorScale.of_range(-60, 90)) == 0


def test_entropy_cuts_a_thin_tail_and_keeps_a_flat_one() -> None:
    rng = np.random.default_rng(0)
    thin = _seen(np.concatenate([np.abs(rng.normal(size=200_000)), [12.0]]))
    assert 3.5 < thin.range("entropy")[1] < 9
    assert thin.range("entropy")[0] == pytest.approx(0, abs=1e-3)
    modes = np.concatenate([rng.uniform(0, 1, 70_000), rng.uniform(9, 10, 30_000)])
    assert _seen(modes).range("entropy")[1] > 9  # a whole mode is not given up
    flat = _seen(rng.uniform(-1, 1, 200_000))
    assert flat.range("entropy") == pytest.approx((-1, 1), abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_tensor_has_a_scale(method: str) -> None:
    seen = {"x": Observed(0.0, 0.0, np.eye(1, BINS, dtype=np.int64)[0], 4, 4)}
    assert choose_scales(seen, method, symmetric=False)["x"].scale > 0  # type: ignore[arg-type]


def test_symmetric_scales(crops: torch.Tensor) -> None:
    seen = observe(_network(), crops, progress=False)
    affine, symmetric = (choose_scales(seen, "minmax", symmetric=flag) for flag in (False, True))
    assert all(scale.zero_point == 0 for scale in symmetric.values())
    assert affine["entry"].zero_point == -128


def test_values_that_are_not_finite(crops: torch.Tensor) -> None:
    net = _network()
    net.entry.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match=r"tensor 'entry': takes values from nan"):
        observe(net, crops, progress=False)


def test_crops_are_those_of_a_training_run(distill_config: Callable[..., DistillConfig]) -> None:
    config = distill_config()
    crops = calibration_crops(config, 256, progress=False)
    data = MixtureDataset(config.mixture, config.data_root, config.seed)
    assert crops.shape == (256, 3, 16, 16)
    assert all(torch.equal(crops[index], data[index].rainy) for index in (0, 7, 255))


def test_too_few_crops(distill_config: Callable[..., DistillConfig]) -> None:
    with pytest.raises(
        ConfigError, match=r"crops 255 of 16x16 are 65280 pixels, .* take at least 256"
    ):
        calibration_crops(distill_config(), 255, progress=False)


def test_missing_data(distill_config: Callable[..., DistillConfig]) -> None:
    config = distill_config()
    gone = PartConfig(SourceConfig(layout="clean", root="gone"))
    mixture = dataclasses.replace(config.mixture, parts={"gone": gone})
    with pytest.raises(DataError, match="gone"):
        calibration_crops(dataclasses.replace(config, mixture=mixture), 256, progress=False)
