"""Axes of every network: removing channels is the same as zeroing them by hand."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from compress.pruning.dependencies import find_axes
from core.networks.deconv import DeconvConfig
from core.networks.layers import ShuffledConv2d
from tests.compress.pruning.conftest import GAN, build, picture


def zero_by_shape(whole: nn.Module, pruned: nn.Module, channels: list[int]) -> None:
    """Zero ``channels`` on every side of a layer that pruning has made narrower.

    A side that lost a multiple of them holds several sets of channels one after the other, as the
    gates of an LSTM do, or in turn, as blocks of pixels do.
    """
    narrower: dict[str, Any] = dict(pruned.named_modules())
    for name, layer in whole.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        for side in ("out_channels", "in_channels"):
            size = getattr(layer, side)
            sets, rest = divmod(size - getattr(narrower[name], side), len(channels))
            assert rest == 0, name
            each = size // max(1, sets)
            gone = [start * each + channel for start in range(sets) for channel in channels]
            if isinstance(layer, ShuffledConv2d):
                gone = [channel * sets + place for channel in channels for place in range(sets)]
            weight = layer.weight.data
            if (side == "out_channels") != layer.transposed:
                weight[gone] = 0
            else:
                weight[:, gone] = 0
            if side == "out_channels" and layer.bias is not None:
                layer.bias.data[gone] = 0


@torch.no_grad()
def test_every_axis_alone_equals_zeroed_channels(case: tuple[str, Any, int]) -> None:
    _, net, count = case
    rainy = picture(net)
    assert len(find_axes(net, net.config.size_multiple)) == count
    for index in range(count):
        whole, pruned = copy.deepcopy(net), copy.deepcopy(net)
        axis = find_axes(pruned, net.config.size_multiple)[index]
        channels = [0, axis.width - 2]
        axis.remove(channels)
        zero_by_shape(whole, pruned, channels)
        wanted = whole(rainy)
        assert not torch.allclose(net(rainy), wanted, rtol=0, atol=1e-6), axis.name
        assert torch.allclose(pruned(rainy), wanted, rtol=0, atol=1e-11), axis.name


@torch.no_grad()
def test_per_channel_adds_up_what_goes_with_a_channel() -> None:
    net: Any = build("gan_lstm", replace(GAN, attention="none", blocks=1))
    by_name = {axis.name: axis for axis in find_axes(net, 1)}
    inner = by_name["body.0.first"].per_channel(torch.square)
    first, second = net.body[0].first, net.body[0].second
    wanted = (first.weight**2).sum((1, 2, 3)) + first.bias**2 + (second.weight**2).sum((0, 2, 3))
    assert torch.allclose(inner.double(), wanted, rtol=0, atol=1e-12)

    (hidden,) = (axis for name, axis in by_name.items() if name not in ("entry", "body.0.first"))
    wanted = (net.exit.weight**2).sum((0, 2, 3)) + (first.weight**2).sum((0, 2, 3))
    wanted = wanted + (second.weight**2).sum((1, 2, 3)) + second.bias**2
    wanted = wanted + (net.cell.from_hidden.weight**2).sum((0, 2, 3))
    gates = (net.cell.from_input.weight**2).sum((1, 2, 3)) + net.cell.from_input.bias**2
    gates = gates + (net.cell.from_hidden.weight**2).sum((1, 2, 3))
    wanted = wanted + gates.view(4, 6).sum(0)
    assert torch.allclose(hidden.per_channel(torch.square), wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_per_channel_of_a_transposed_convolution() -> None:
    net: Any = build("deconv", DeconvConfig((4, 6)))
    (axis,) = (axis for axis in find_axes(net, 2) if axis.name == "up.0")
    up, last = net.up
    wanted = (up.weight**2).sum((0, 2, 3)) + up.bias**2 + (last.weight**2).sum((1, 2, 3))
    assert torch.allclose(axis.per_channel(torch.square), wanted, rtol=0, atol=1e-12)
