"""Fake quantization against numpy, and what a scale can hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.errors import ConfigError
from core.quantization import (
    TensorScale,
    fake_quantize,
    fake_quantize_weight,
    weight_scales,
)


def _reference(x: np.ndarray, scale: np.ndarray | float, zero_point: int = 0) -> np.ndarray:
    """ONNX QuantizeLinear and DequantizeLinear."""
    codes = np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127)
    return (codes - zero_point) * np.float32(scale)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.25, 0), (1 / 64, -128), (0.5, 127), (2, 3)])
def test_activations_equal_numpy(scale: float, zero_point: int) -> None:
    x = np.random.default_rng(0).normal(0, 20 * scale, 4000).astype(np.float32)
    x = np.concatenate([x, np.arange(-300, 300, dtype=np.float32) * scale / 2])  # halves too
    found = fake_quantize(torch.from_numpy(x), scale, zero_point).numpy()
    np.testing.assert_array_equal(found, _reference(x, scale, zero_point))


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_equal_numpy(axis: int) -> None:
    weight = torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    scales = weight_scales(weight, axis)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    wide = np.array(scales, np.float32).reshape(shape)
    found = fake_quantize_weight(weight, torch.tensor(scales), axis).numpy()
    np.testing.assert_allclose(found, _reference(weight.numpy(), wide), atol=1e-7)
    codes = np.rint(found / wide)
    others = tuple(index for index in range(4) if index != axis)
    assert (np.abs(codes).max(others) == 127).all()  # each channel uses its codes, and no -128
    assert codes.min() == -127


def test_weights_beyond_their_scales_saturate_at_all_256_codes() -> None:
    found = fake_quantize_weight(torch.tensor([[-9.0], [9.0]]), torch.tensor([0.01, 0.01]), 0)
    assert found.flatten().tolist() == pytest.approx([-1.28, 1.27])


def test_a_channel_of_zeros_stays_zero() -> None:
    weight = torch.zeros(2, 1, 1, 1)
    assert weight_scales(weight, 0) == (1.0, 1.0)
    assert fake_quantize_weight(weight, torch.ones(2), 0).abs().max() == 0


def test_the_gradient_passes_inside_the_range_only() -> None:
    x = torch.tensor([-3.0, -0.4, 0.3, 3.0], requires_grad=True)
    fake_quantize(x, 0.01, 0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 25.5, 0.1, -128),
        (-25.5, 0.0, 0.1, 127),
        (-12.8, 12.7, 0.1, 0),
        (2.0, 25.5, 0.1, -128),  # widened to hold 0
        (0.0, 0.0, 1.0, -128),
    ],
)
def test_scales_of_ranges(low: float, high: float, scale: float, zero_point: int) -> None:
    stored = TensorScale.of_range(low, high)
    assert (stored.scale, stored.zero_point) == (pytest.approx(scale), zero_point)
    assert fake_quantize(torch.zeros(1), stored.scale, stored.zero_point) == 0
    least, most = stored.range
    assert least <= min(low, 0) + scale / 2
    assert most >= max(high, 0) - scale / 2


def test_symmetric_scales_have_zero_point_zero() -> None:
    stored = TensorScale.of_range(-1.0, 12.7, symmetric=True)
    assert (stored.scale, stored.zero_point) == (pytest.approx(0.1), 0)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0, 0), (math.nan, 0), (1.0, 128)])
def test_scales_that_store_nothing(scale: float, zero_point: int) -> None:
    with pytest.raises(ConfigError, match="quantize the checkpoint again"):
        TensorScale(scale, zero_point)
