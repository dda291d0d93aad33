"""RESCAN against the equations of its paper, written out once more."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.config import network_config
from core.errors import ConfigError
from core.networks.layers import Auxiliary, ChannelAttention
from core.networks.rescan import Rescan, RescanConfig
from core.training.losses import LossConfig, reconstruction_loss

SMALL = RescanConfig(width=5, depth=5, stages=3)


def build(config: RescanConfig) -> Rescan:
    """A float64 net without zeros."""
    torch.manual_seed(0)
    net = Rescan(config).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for module in net.modules():
        if isinstance(module, ChannelAttention) and module.squeeze.bias is not None:
            module.squeeze.bias.data.abs_().add_(0.5)  # few of its units are dead
    return net


def picture(*size: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, *size, dtype=torch.float64)


def naive_convolution(x: Tensor, weight: Tensor, bias: Any, dilation: int) -> Tensor:
    """Tap by tap; (C, H, W)."""
    outputs, _, side, _ = weight.shape
    _, height, width = x.shape
    margin = dilation * (side // 2)
    padded = F.pad(x, (margin,) * 4)
    result = torch.zeros(outputs, height, width, dtype=x.dtype)
    if bias is not None:
        result += bias[:, None, None]
    for row in range(side):
        for column in range(side):
            top, left = row * dilation, column * dilation
            part = padded[:, top : top + height, left : left + width]
            result += torch.einsum("oi,ihw->ohw", weight[:, :, row, column], part)
    return result


def naive_excitation(attention: Any, x: Tensor) -> Tensor:
    means = x.mean((1, 2))
    squeezed = (attention.squeeze.weight[:, :, 0, 0] @ means + attention.squeeze.bias).clamp(min=0)
    excited = attention.excite.weight[:, :, 0, 0] @ squeezed + attention.excite.bias
    scaled = x * (1 / (1 + torch.exp(-excited)))[:, None, None]
    return torch.where(scaled > 0, scaled, 0.2 * scaled)


def naive_layer(layer: Any, x: Tensor, h: Tensor, dilation: int) -> Tensor:
    """One layer of a stage (section 4.1) on (C, H, W)."""
    cell = layer.cell

    def sums(convolution: Any, of: Tensor, of_dilation: int) -> list[Tensor]:
        weights = convolution.weight.split(len(h))
        nothing = [None] * len(weights)
        biases = nothing if convolution.bias is None else convolution.bias.split(len(h))
        return [
            naive_convolution(of, weight, bias, of_dilation)
            for weight, bias in zip(weights, biases, strict=True)
        ]

    from_x, from_h = sums(cell.from_input, x, dilation), sums(cell.from_hidden, h, 1)
    z, r = (torch.sigmoid(a + b) for a, b in zip(from_x[:2], from_h, strict=True))
    n = torch.tanh(from_x[2] + sums(cell.from_reset, r * h, 1)[0])
    return naive_excitation(layer.attention, (1 - z) * h + z * n)


def naive_stages(net: Rescan, rainy: Tensor) -> list[Tensor]:
    """All stages on one picture (3, H, W), with states of zeros before the first."""
    widths = net.config.widths[:-1]
    states = [torch.zeros(width, *rainy.shape[1:], dtype=rainy.dtype) for width in widths]
    x, results = rainy, []
    for _ in range(net.config.stages):
        features = x
        for index, layer in enumerate(net.layers):
            features = naive_layer(layer, features, states[index], (1, 1, 2, 4, 8)[index])
            states[index] = features
        features = naive_convolution(features, net.merge.weight, net.merge.bias, 1)
        features = naive_excitation(net.merge_attention, features)
        x = rainy - naive_convolution(features, net.exit.weight, net.exit.bias, 1)
        results.append(x)
    return results


@torch.no_grad()
def test_it_equals_the_equations() -> None:
    net = build(SMALL)
    rainy = picture(6, 9, count=2)
    found = net.stages(rainy)
    assert len(found) == 3
    for index in range(2):
        for stage, wanted in zip(found, naive_stages(net, rainy[index]), strict=True):
            assert torch.allclose(stage[index], wanted, rtol=0, atol=1e-11)
    assert torch.equal(net(rainy), found[-1])


def test_the_paper_is_the_default() -> None:
    net = Rescan()
    assert net.config.dilations == (1, 1, 2, 4, 8)
    dilated = [layer.cell.from_input for layer in net.layers]  # type: ignore[union-attr]
    assert [layer.dilation[0] for layer in dilated] == [1, 1, 2, 4, 8]  # type: ignore[index, union-attr]
    reach = sum(layer.dilation[0] for layer in (*dilated, net.merge))  # type: ignore[index, union-attr, misc]
    assert 2 * reach + 1 == 35  # table 1
    assert (net.config.width, net.config.stages) == (24, 4)
    assert net.merge_attention.squeeze.out_channels == 6


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 3), (37, 21)])
def test_any_size_is_legal_and_untrained_nothing_changes(size: tuple[int, int]) -> None:
    rainy = torch.rand(2, 3, *size)
    assert RescanConfig().size_multiple == 1
    assert torch.equal(Rescan()(rainy), rainy)


def test_the_losses_of_all_stages_add_up_to_that_of_the_paper() -> None:
    net = build(SMALL)
    assert isinstance(net, Auxiliary)
    rainy, clean = picture(6, 5, count=2), picture(6, 5, count=2)
    config = LossConfig(l1=0.0, mse=1.0)
    derained, outputs = net.forward_auxiliary(rainy)
    losses = net.auxiliary_losses(
        outputs, rainy, clean, lambda a, b: reconstruction_loss(a, b, config)
    )
    found = reconstruction_loss(derained, clean, config) + losses["stages"]
    # Squared error of the rain layer: all that is predicted up to a stage, less rainy minus clean.
    wanted = 0.0
    for index in range(2):
        for result in naive_stages(net, rainy[index]):
            predicted, rain = rainy[index] - result, rainy[index] - clean[index]
            wanted += ((predicted - rain) ** 2).mean().item() / 2
    assert found.item() == pytest.approx(wanted, rel=1e-12)
    assert torch.equal(derained, net(rainy))


def test_one_stage_has_no_loss_of_its_own() -> None:
    net = build(replace(SMALL, stages=1))
    derained, outputs = net.forward_auxiliary(picture(4, 4))
    assert outputs == {}
    assert net.auxiliary_losses(outputs, derained, derained, torch.sub) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width 0 must be at least 1"),
        ({"depth": 2}, "depth 2 must be at least 3"),
        ({"stages": 0}, "stages 0 must be at least 1"),
        ({"layer_widths": (4, 4)}, r"layer_widths \[4, 4\] must be 6 numbers of at least 1, or"),
        ({"squeeze_widths": (4,) * 5 + (0,)}, r"squeeze_widths .* must be 6 numbers"),
    ],
)
def test_config_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RescanConfig(**values)


def test_configs_of_before_say_what_there_is_no_choice_of_any_more() -> None:
    assert network_config("rescan", {"unit": "gru", "prediction": "full"}) == RescanConfig()
    with pytest.raises(ConfigError, match="unit: unknown key"):
        network_config("rescan", {"unit": "lstm"})
