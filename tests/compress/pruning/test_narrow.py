"""Narrowing: the least important first, over all axes, to multiples of 8 and no further."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.cost import macs_per_pixel, measure_cost
from compress.pruning.dependencies import Axis, find_axes
from compress.pruning.narrow import Goal, narrow
from core.networks.deconv import DeconvConfig, DeconvNet
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.student import StudentConfig, StudentNet

MACS, BYTES = "MACs per pixel", "bytes"


def student() -> tuple[Any, list[Axis]]:
    torch.manual_seed(0)
    net = StudentNet(StudentConfig((24, 32), (1, 1), (1,)))
    return net, find_axes(net, 4)


def ascending(axes: list[Axis]) -> list[Tensor]:
    return [torch.arange(axis.width) + 100.0 * index for index, axis in enumerate(axes)]


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
@pytest.mark.parametrize("unit", [MACS, BYTES])
def test_the_cost_falls_as_asked(unit: Any, share: float) -> None:
    net, axes = student()
    before = measure_cost(net, 4)
    whole = before.macs_per_pixel if unit == MACS else before.bytes_fp32
    assert Goal(unit, 1).cost(net, 4) == whole
    narrow(net, axes, [torch.rand(axis.width) for axis in axes], Goal(unit, share * whole), 4)
    after = measure_cost(net, 4)
    found = after.macs_per_pixel if unit == MACS else after.bytes_fp32
    assert 0.5 * share * whole < found <= share * whole
    assert all(axis.width % 8 == 0 for axis in axes)


def test_a_goal_that_is_reached_already_removes_nothing() -> None:
    net, axes = student()
    before = copy.deepcopy(net.state_dict())
    narrow(net, axes, ascending(axes), Goal(MACS, macs_per_pixel(net, 4)), 4)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_axes_are_ranked_against_each_other() -> None:
    net, axes = student()
    widths = [axis.width for axis in axes]
    narrow(net, axes, ascending(axes), Goal(MACS, macs_per_pixel(net, 4) - 1), 4)
    assert [axis.width for axis in axes] == [widths[0] - 8, *widths[1:]]


def test_channels_that_are_left_are_the_most_important() -> None:
    net, axes = student()
    index = next(i for i, axis in enumerate(axes) if axis.name == "encoder.1.0.first")
    before = net.encoder[1][0].first.weight.detach().clone()
    importance = [torch.full((axis.width,), 9.0) for axis in axes]
    importance[index] = torch.randperm(32) / 32
    small = Goal(BYTES, Goal(BYTES, 1).cost(net, 4) - 16 * (2 * 9 * 32 + 1) * 4)
    narrow(net, axes, importance, small, 4)
    kept = importance[index].argsort()[16:].sort().values
    assert torch.equal(net.encoder[1][0].first.weight, before[kept])


def test_a_goal_out_of_reach_leaves_eight_channels_everywhere() -> None:
    net, axes = student()
    smallest = Goal(MACS, 1).smallest(net, 4)
    narrow(net, axes, ascending(axes), Goal(MACS, 1), 4)
    assert {axis.width for axis in axes} == {8}
    assert macs_per_pixel(net, 4) == smallest


def test_narrow_layers_stay_and_odd_widths_become_multiples() -> None:
    net = DeconvNet(DeconvConfig((6, 12, 20)))
    axes = find_axes(net, 4)
    narrow(net, axes, ascending(axes), Goal(BYTES, 1), 4)
    assert [layer.out_channels for layer in net.down] == [6, 8, 8]
    assert Goal(BYTES, 1).smallest(net, 4) == Goal(BYTES, 1).cost(net, 4)


def test_stages_count_for_macs() -> None:
    costs = [
        Goal(MACS, 1).cost(GanLstm(GanLstmConfig(width=8, stages=stages, blocks=1)), 1)
        for stages in (2, 3)
    ]
    assert costs[0] < costs[1]
