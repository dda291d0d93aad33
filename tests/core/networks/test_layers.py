import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.networks.layers import (
    AttentionBlock,
    ChannelAttention,
    ConvLSTMCell,
    SpatialAttention,
    guided_filter,
)

WIDTH = 6


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def features(*size: int) -> Tensor:
    return torch.randn(2, WIDTH, *size, dtype=torch.float64)


def naive_lstm(cell: ConvLSTMCell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One convolution of concat(x, h) for each gate."""
    weights = torch.cat([cell.from_input.weight, cell.from_hidden.weight], dim=1)
    assert cell.from_input.bias is not None
    i, f, o, g = (
        F.conv2d(torch.cat([x, h], dim=1), weight, bias, padding=1)
        for weight, bias in zip(weights.chunk(4), cell.from_input.bias.chunk(4), strict=True)
    )
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (8, 9)])
def test_lstm_equals_the_concatenated_form(size: tuple[int, int]) -> None:
    cell = ConvLSTMCell(WIDTH).double()
    x, h, c = features(*size), features(*size), features(*size)
    for found, wanted in zip(cell(x, h, c), naive_lstm(cell, x, h, c), strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_no_state_stands_for_zeros() -> None:
    cell = ConvLSTMCell(WIDTH).double()
    x, zeros = features(5, 7), torch.zeros(2, WIDTH, 5, 7, dtype=torch.float64)
    for found, wanted in zip(cell(x), cell(x, zeros, zeros), strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-15)


def test_a_block_without_attention_is_that_of_prenet() -> None:
    block, x = AttentionBlock(WIDTH).double(), features(5, 7)
    inner = F.relu(F.conv2d(x, block.first.weight, block.first.bias, padding=1))
    inner = F.relu(F.conv2d(inner, block.second.weight, block.second.bias, padding=1))
    assert torch.equal(block(x), F.relu(inner + x))
    assert {name.split(".")[0] for name in block.state_dict()} == {"first", "second"}


def test_attention_weighs_what_the_block_adds() -> None:
    block, x = AttentionBlock(WIDTH, "channel").double(), features(5, 7)
    inner = F.relu(block.second(F.relu(block.first(x))))
    assert torch.equal(block(x), F.relu(block.attention(inner) + x))


def test_channel_attention_weighs_each_channel_by_the_means() -> None:
    attention, x = ChannelAttention(WIDTH).double(), features(5, 7)
    found = attention(x)
    for n in range(2):
        squeezed = attention.squeeze.weight[:, :, 0, 0] @ x[n].flatten(1).mean(dim=1)
        squeezed = F.relu(squeezed + attention.squeeze.bias)
        excited = attention.excite.weight[:, :, 0, 0] @ squeezed + attention.excite.bias
        wanted = x[n] * torch.sigmoid(excited)[:, None, None]
        assert torch.allclose(found[n], wanted, rtol=0, atol=1e-12)


def test_spatial_attention_weighs_each_place() -> None:
    attention, x = SpatialAttention(WIDTH).double(), features(5, 7)
    gate = torch.sigmoid(F.conv2d(x, attention.weigh.weight, attention.weigh.bias, padding=1))
    assert gate.shape == (2, 1, 5, 7)
    assert torch.equal(attention(x), x * gate)


@pytest.mark.parametrize(("kind", "reach"), [("none", 2), ("spatial", 3), ("channel", 15)])
def test_how_far_a_block_looks(kind: str, reach: int) -> None:
    # Positive weights and pixels keep every ReLU open, so what is connected moves.
    block = AttentionBlock(WIDTH, kind).double()  # type: ignore[arg-type]
    for parameter in block.parameters():
        parameter.data.abs_()
    x = torch.rand(1, WIDTH, 3, 31, dtype=torch.float64, requires_grad=True)
    block(x)[0, :, 1, 15].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].ne(0).any(dim=0).any(dim=0).nonzero().flatten()
    assert (int(touched[0]), int(touched[-1])) == (15 - reach, 15 + reach)


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


def test_limits_of_eps() -> None:
    rainy = picture(1, 3, 12, 13)
    assert torch.allclose(guided_filter(rainy, 2, 1e-15), rainy, rtol=0, atol=1e-10)
    smooth = rainy
    for _ in range(2):
        smooth = F.avg_pool2d(smooth, 5, stride=1, padding=2, count_include_pad=False)
    assert torch.allclose(guided_filter(rainy, 2, 1e12), smooth, rtol=0, atol=1e-10)


def test_gradients_equal_numerical_ones() -> None:
    rainy = picture(1, 2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: guided_filter(x, 1, 0.01), (rainy,))
