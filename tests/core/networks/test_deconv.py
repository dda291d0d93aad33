"""DeconvNet against loops, by its printed widths, and at any size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from compress.cost import macs_per_pixel
from core.config import network_config
from core.errors import ConfigError
from core.networks.deconv import DeconvConfig, DeconvNet
from edge_runtime.models.records import to_plain

TINY = DeconvConfig(widths=(4, 6, 8, 10))
Array = NDArray[np.float64]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def arrays(layer: nn.Module) -> tuple[Array, Array]:
    return tuple(parameter.detach().numpy() for parameter in layer.parameters())


def naive_convolution(x: Array, layer: nn.Module) -> Array:
    """Each output sees itself and its right, lower and lower-right neighbour; outside is zero."""
    weight, bias = arrays(layer)
    outputs = np.zeros((len(bias), *x.shape[1:]))
    for i, j in np.ndindex(x.shape[1:]):
        outputs[:, i, j] = bias
        for di, dj in np.ndindex(2, 2):
            if i + di < x.shape[1] and j + dj < x.shape[2]:
                outputs[:, i, j] += weight[:, :, di, dj] @ x[:, i + di, j + dj]
    return outputs


def naive_transposed(x: Array, layer: nn.Module) -> Array:
    """Each input writes to the same four places; what falls outside is lost."""
    weight, bias = arrays(layer)
    outputs = np.broadcast_to(bias[:, None, None], (len(bias), *x.shape[1:])).copy()
    for i, j in np.ndindex(x.shape[1:]):
        for di, dj in np.ndindex(2, 2):
            if i + di < x.shape[1] and j + dj < x.shape[2]:
                outputs[:, i + di, j + dj] += weight[:, :, di, dj].T @ x[:, i, j]
    return outputs


def naive_pool(x: Array) -> Array:
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def naive_net(rainy: Array, net: DeconvNet) -> Array:
    x = rainy
    for level in range(4):
        x = np.maximum(naive_convolution(x, net.down[level]), 0)
        x = naive_pool(x) if level < 3 else x
    for level in range(4):
        x = naive_transposed(x, net.up[level])
        x = np.maximum(x, 0).repeat(2, axis=1).repeat(2, axis=2) if level < 3 else x
    return x


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (40, 24)])
def test_it_equals_loops_over_pixels(size: tuple[int, int]) -> None:
    net, rainy = DeconvNet(TINY).double(), torch.rand(2, 3, *size, dtype=torch.float64)
    found = net(rainy).detach().numpy()
    for n in range(2):
        np.testing.assert_allclose(found[n], naive_net(rainy[n].numpy(), net), rtol=0, atol=1e-12)


def test_layers_are_those_of_the_paper() -> None:
    net = DeconvNet()
    assert [tuple(layer.weight.shape) for layer in net.down] == [
        (64, 3, 2, 2),
        (128, 64, 2, 2),
        (256, 128, 2, 2),
        (512, 256, 2, 2),
    ]
    assert [tuple(layer.weight.shape) for layer in net.up] == [
        (512, 512, 2, 2),
        (512, 256, 2, 2),
        (256, 128, 2, 2),
        (128, 3, 2, 2),
    ]
    assert net.config.size_multiple == 8


def test_cost_equals_a_sum_by_hand() -> None:
    down = 3 * 64 * 4 + 64 * 128 * 4 / 4 + 128 * 256 * 4 / 16 + 256 * 512 * 4 / 64
    up = 512 * 512 * 4 / 64 + 512 * 256 * 4 / 16 + 256 * 128 * 4 / 4 + 128 * 3 * 4
    assert macs_per_pixel(DeconvNet(), 8) == down + up


def test_an_untrained_residual_net_returns_its_input() -> None:
    rainy = torch.rand(1, 3, 16, 8)
    net = DeconvNet(DeconvConfig(TINY.widths, residual_output=True))
    assert torch.equal(net(rainy), rainy)


@pytest.mark.parametrize("residual", [False, True])
def test_it_overfits_one_pair_to_above_40_db(residual: bool) -> None:
    net = DeconvNet(DeconvConfig(widths=(32, 64), residual_output=residual))
    clean = torch.linspace(0, 1, 8).expand(1, 3, 8, 8)
    rainy = (clean + 0.4 * (torch.rand(1, 1, 8, 8) > 0.8)).clamp(0, 1)
    assert F.mse_loss(rainy, clean) > 1e-2
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(400):
        loss = F.mse_loss(net(rainy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-4


def test_the_way_up_can_have_its_own_widths() -> None:
    config = DeconvConfig((4, 6, 8), up_widths=(5, 7))
    net = DeconvNet(config)
    assert [tuple(layer.weight.shape[:2]) for layer in net.up] == [(8, 5), (5, 7), (7, 3)]
    assert net(torch.rand(1, 3, 12, 4)).shape == (1, 3, 12, 4)
    assert network_config("deconv", to_plain(config)) == config


@pytest.mark.parametrize("up_widths", [(5,), (5, 7, 3), (5, 0)])
def test_wrong_widths_of_the_way_up_are_named(up_widths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"up_widths \[.*\] must be 2 numbers of at least 1"):
        DeconvConfig((4, 6, 8), up_widths=up_widths)


@pytest.mark.parametrize("widths", [(), (8, 0)])
def test_wrong_widths_are_named(widths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"widths \[.*\] must be one or more numbers of at least"):
        DeconvConfig(widths)
