"""The guided filter against loops over windows, closed forms and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.networks.frequency import box_mean, decompose, guided_filter


def picture(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def window(i: int, j: int, radius: int) -> tuple[slice, slice]:
    return slice(max(0, i - radius), i + radius + 1), slice(max(0, j - radius), j + radius + 1)


def naive_guided_filter(channel: NDArray[np.float64], radius: int, eps: float) -> np.ndarray:
    """Equations 5, 6 and 8 of He et al. 2013, window by window."""
    a, b, result = (np.zeros_like(channel) for _ in range(3))
    for i, j in np.ndindex(channel.shape):
        pixels = channel[window(i, j, radius)]
        a[i, j] = np.var(pixels) / (np.var(pixels) + eps)
        b[i, j] = pixels.mean() - a[i, j] * pixels.mean()
    for i, j in np.ndindex(channel.shape):
        around = window(i, j, radius)
        result[i, j] = a[around].mean() * channel[i, j] + b[around].mean()
    return result


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (11, 14)])
@pytest.mark.parametrize(("radius", "eps"), [(1, 1e-4), (2, 0.01), (15, 1.0)])
def test_it_equals_loops_over_windows(size: tuple[int, int], radius: int, eps: float) -> None:
    rainy = picture(2, 3, *size)
    found = guided_filter(rainy, radius, eps)
    assert found.shape == rainy.shape
    for index in np.ndindex(2, 3):
        wanted = naive_guided_filter(rainy[index].numpy(), radius, eps)
        np.testing.assert_allclose(found[index].numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("eps", [1e-4, 0.01, 1.0])
def test_float32_is_precise_enough(eps: float) -> None:
    rainy = picture(1, 3, 40, 33)
    rainy[:, :, 20:] = 0.9 + 0.001 * rainy[:, :, 20:]  # nearly flat and bright: cancellation
    found = guided_filter(rainy.float(), 5, eps).double()
    assert (found - guided_filter(rainy, 5, eps)).abs().max() < 1e-5


def test_base_and_detail_add_up_to_the_picture() -> None:
    rainy = picture(2, 3, 17, 23, dtype=torch.float32)
    base, detail = decompose(rainy, 3, 0.01)
    assert torch.equal(base, guided_filter(rainy, 3, 0.01))
    assert (base + detail - rainy).abs().max() <= torch.finfo(torch.float32).eps / 2


def test_a_flat_picture_is_all_base() -> None:
    flat = torch.full((1, 3, 9, 7), 0.3, dtype=torch.float64)
    base, detail = decompose(flat, 2, 0.01)
    assert torch.allclose(base, flat, rtol=0, atol=1e-15)
    assert detail.abs().max() < 1e-15


def test_a_ramp_stays_a_ramp_away_from_the_border() -> None:
    # Each window's line passes through its centre, where it equals the ramp.
    radius = 3
    ramp = (torch.arange(40, dtype=torch.float64) / 40).expand(1, 1, 30, 40)
    inside = guided_filter(ramp, radius, 0.01)[..., 2 * radius : -2 * radius]
    assert torch.allclose(inside, ramp[..., 2 * radius : -2 * radius], rtol=0, atol=1e-12)


def test_limits_of_eps() -> None:
    rainy = picture(1, 3, 12, 13)
    assert torch.allclose(guided_filter(rainy, 2, 1e-15), rainy, rtol=0, atol=1e-10)
    smooth = box_mean(box_mean(rainy, 2), 2)
    assert torch.allclose(guided_filter(rainy, 2, 1e12), smooth, rtol=0, atol=1e-10)


def test_strong_edges_stay_and_weak_texture_goes() -> None:
    edge = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    edge[..., 16:] = 1.0
    texture = 0.02 * (picture(1, 1, 32, 32) - 0.5)
    base, detail = decompose(edge + texture, 4, 0.01)
    assert (base[..., 16] - base[..., 15]).min() > 0.9
    assert base[..., :8].std() < 0.2 * texture.std()
    assert torch.allclose(detail[..., :8], texture[..., :8], rtol=0, atol=0.005)


def test_box_mean_counts_only_pixels_inside() -> None:
    assert torch.allclose(box_mean(torch.ones(1, 2, 5, 3), 7), torch.ones(1, 2, 5, 3))


def test_gradients_equal_numerical_ones() -> None:
    rainy = picture(1, 2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: guided_filter(x, 1, 0.01), (rainy,))
