"""JORDER against the equations of its paper, written out once more."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.cost import measure_cost
from core.config import network_config
from core.errors import ConfigError
from core.networks.jorder import Jorder, JorderConfig, rain_mask
from core.networks.layers import Auxiliary
from core.training.losses import LossConfig, reconstruction_loss
from edge_runtime.models.records import to_plain

TINY = JorderConfig(width=4, stages=3, refinements=2, streak_weight=0.5, mask_weight=0.2)


def build(config: JorderConfig = TINY) -> Jorder:
    """A float64 net without zeros."""
    torch.manual_seed(0)
    net = Jorder(config).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return net


def picture(*size: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, *size, dtype=torch.float64)


def convolve(layer: Any, x: np.ndarray, dilation: int = 1) -> np.ndarray:
    """A 3x3 convolution of (C, H, W), tap by tap."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (dilation, dilation), (dilation, dilation)))
    result = np.zeros((len(weight), height, width)) + bias[:, None, None]
    for row in range(3):
        for column in range(3):
            top, left = row * dilation, column * dilation
            part = padded[:, top : top + height, left : left + width]
            result += np.tensordot(weight[:, :, row, column], part, 1)
    return np.asarray(result)


def pair(module: Any, x: np.ndarray, dilation: int = 1) -> np.ndarray:
    inner = np.maximum(convolve(module.first, x, dilation), 0)
    return convolve(module.second, inner, dilation)


def stage(net: Jorder, o: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One recurrence on (3, H, W): background, logits of the mask, streak layer."""
    features = np.maximum(convolve(net.context.entry, o), 0)
    for _ in range(net.config.refinements):
        paths = zip(net.context.paths, net.config.dilations, strict=True)
        seen = [np.maximum(pair(path, features, dilation), 0) for path, dilation in paths]
        features = features + sum(seen)
    logits = pair(net.mask, features)
    r = 1 / (1 + np.exp(-logits))
    s = pair(net.streaks, np.concatenate([features, r]))
    epsilon = -pair(net.background, np.concatenate([features, r, s, o - r * s]))
    return o - epsilon, logits, s


@torch.no_grad()
@pytest.mark.parametrize("dilations", [(1, 2, 3), (2,)])
def test_every_stage_equals_the_equations(dilations: tuple[int, ...]) -> None:
    net, rainy = build(replace(TINY, dilations=dilations)), picture(9, 7)
    results = net.stages(rainy)
    assert len(results) == 3
    o = rainy[0].numpy()
    for found in results:
        wanted = stage(net, o)
        for mine, theirs in zip(found, wanted, strict=True):
            assert np.allclose(mine[0].numpy(), theirs, rtol=0, atol=1e-12)
        o = wanted[0]
    assert torch.equal(net(rainy), results[-1].derained)
    assert np.abs(o - rainy[0].numpy()).max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (3, 17), (8, 5)])
def test_any_size_is_legal(size: tuple[int, int]) -> None:
    net, rainy = build(), picture(*size, count=2)
    derained, outputs = net.forward_auxiliary(rainy)
    assert net.config.size_multiple == 1
    assert torch.equal(derained, net(rainy))
    assert {name: tensor.shape for name, tensor in outputs.items()} == {
        "derained": (2, 3, 3, *size),
        "logits": (2, 3, 1, *size),
        "streaks": (2, 3, 3, *size),
    }
    for name, tensor in outputs.items():
        for index, result in enumerate(net.stages(rainy)):
            assert torch.equal(tensor[:, index], getattr(result, name))


def test_an_untrained_net_returns_its_input() -> None:
    rainy = picture(6, 5).float()
    assert torch.equal(Jorder(TINY)(rainy), rainy)


@torch.no_grad()
def test_rain_is_where_one_channel_differs_by_more_than_the_threshold() -> None:
    rain = torch.zeros(1, 3, 2, 3)
    rain[0, :, 0, 0] = torch.tensor([0.0, 0.05, 0.0])  # above it in one channel
    rain[0, :, 0, 1] = 0.04  # at it
    rain[0, :, 1, 0] = torch.tensor([0.03, 0.03, 0.03])  # below it in all
    rain[0, :, 1, 2] = torch.tensor([0.0, 0.0, -0.5])  # darker than the clean picture
    wanted = torch.tensor([[[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]])
    assert torch.equal(rain_mask(rain, 0.04), wanted)


@torch.no_grad()
@pytest.mark.parametrize("stages", [1, 3])
def test_the_losses_equal_naive_ones(stages: int) -> None:
    net = build(replace(TINY, stages=stages, mask_threshold=0.3))
    rainy, clean = picture(5, 6, count=2), picture(5, 6, count=2)
    terms = LossConfig(l1=0.5, mse=2.0)
    _, outputs = net.forward_auxiliary(rainy)
    losses = net.auxiliary_losses(
        outputs, rainy, clean, lambda x, y: reconstruction_loss(x, y, terms)
    )
    wanted = {"streaks": 0.0, "mask": 0.0, "stages": 0.0}
    for o, b in zip(rainy.numpy(), clean.numpy(), strict=True):
        for number in range(stages):
            derained, logits, streaks = stage(net, o)
            rain = o - b
            probability, pixels = 1 / (1 + np.exp(-logits[0])), logits.size
            entropy = 0.0
            for row, column in np.ndindex(*logits.shape[1:]):
                hit = max(abs(rain[:, row, column])) > 0.3
                p = probability[row, column]
                entropy -= np.log(p if hit else 1 - p)
            wanted["mask"] += 0.2 * entropy / pixels / 2
            wanted["streaks"] += 0.5 * ((streaks - rain) ** 2).sum() / rain.size / 2
            if number + 1 < stages:
                error = derained - b
                wanted["stages"] += (0.5 * abs(error).mean() + 2 * (error**2).mean()) / 2
            o = derained
    if stages == 1:
        del wanted["stages"]
    assert isinstance(net, Auxiliary)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(wanted, 1e-9)


def test_what_a_stage_is_told_does_not_depend_on_it() -> None:
    """The rain that is left is a target, through which no gradient flows."""
    net, rainy, clean = build(replace(TINY, stages=2, mask_weight=0)), picture(5, 6), picture(5, 6)
    _, outputs = net.forward_auxiliary(rainy)
    left = outputs["derained"].detach().requires_grad_()
    losses = net.auxiliary_losses(
        {**outputs, "derained": left}, rainy, clean, lambda x, y: (x * 0).sum()
    )
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert left.grad is not None
    assert not left.grad.any()


@pytest.mark.parametrize("stages", [1, 3])
def test_halo_and_cost_equal_sums_by_hand(stages: int) -> None:
    cost = measure_cost(Jorder(replace(TINY, stages=stages, refinements=5)), 1)
    # The entry, two convolutions of dilation 3 a refinement, and two for each of three heads.
    assert cost.halo == stages * (1 + 5 * (3 + 3) + 3 * 2)
    heads = (4 + 5 + 11) * 4 + 4 * (1 + 3 + 3)
    assert cost.macs_per_pixel == stages * 9 * (3 * 4 + 5 * 6 * 4 * 4 + heads)


def test_every_inner_width_can_be_its_own() -> None:
    config = replace(TINY, path_widths=(2, 5, 3), head_widths=(1, 6, 7))
    net = build(config)
    weights = dict(net.named_parameters())
    inner = [len(weights[f"context.paths.{index}.first.weight"]) for index in range(3)]
    assert inner == [2, 5, 3]
    heads = ("mask", "streaks", "background")
    assert [len(weights[f"{head}.first.weight"]) for head in heads] == [1, 6, 7]
    assert net(picture(4, 5)).shape == (1, 3, 4, 5)
    assert network_config("jorder", to_plain(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width 0 must be at least 1"),
        ({"stages": 0}, "stages 0 must be at least 1"),
        ({"refinements": -2}, "refinements -2 must be at least 1"),
        ({"dilations": ()}, r"dilations \[\] must be one or more numbers of at least 1, such as"),
        ({"dilations": (1, 0)}, r"dilations \[1, 0\] must be one or more"),
        ({"streak_weight": -1.0}, r"streak_weight -1\.0 must be 0 or more"),
        ({"mask_weight": float("nan")}, "mask_weight nan must be 0 or more"),
        ({"mask_threshold": -0.1}, r"mask_threshold -0\.1 is not within \[0, 1\]"),
        ({"path_widths": (8, 8)}, r"path_widths \[8, 8\] must be 3 numbers of at least 1"),
        ({"path_widths": (8, 8), "dilations": (1,)}, r"path_widths .* must be 1 numbers"),
        ({"head_widths": (8, 0, 8)}, r"head_widths \[8, 0, 8\] must be 3 .* or be left out"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JorderConfig(**values)
