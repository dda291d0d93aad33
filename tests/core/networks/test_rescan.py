"""RESCAN against the equations of its paper, written out once more."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.config import network_config
from core.errors import ConfigError
from core.networks.layers import Auxiliary, ChannelAttention, ConvGRUCell, ConvLSTMCell, ConvRNNCell
from core.networks.rescan import Rescan, RescanConfig, Unit
from core.training.losses import LossConfig, reconstruction_loss

SMALL = RescanConfig(width=5, depth=5, stages=3)
UNITS: tuple[Unit, ...] = ("conv_rnn", "gru", "lstm")


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


def naive_layer(
    layer: Any, unit: Unit, x: Tensor, state: tuple[Tensor, Tensor], dilation: int
) -> tuple[Tensor, Tensor]:
    """One layer of a stage (section 4.1); the state is hidden and cell, (C, H, W)."""
    (h, c), cell = state, layer.cell

    def sums(convolution: Any, of: Tensor, of_dilation: int) -> list[Tensor]:
        weights = convolution.weight.split(len(h))
        biases = (
            [None] * len(weights) if convolution.bias is None else convolution.bias.split(len(h))
        )
        return [
            naive_convolution(of, weight, bias, of_dilation)
            for weight, bias in zip(weights, biases, strict=True)
        ]

    from_x, from_h = sums(cell.from_input, x, dilation), sums(cell.from_hidden, h, 1)
    if unit == "conv_rnn":
        h = torch.tanh(from_x[0] + from_h[0])
    elif unit == "gru":
        z, r = (torch.sigmoid(a + b) for a, b in zip(from_x[:2], from_h, strict=True))
        n = torch.tanh(from_x[2] + sums(cell.from_reset, r * h, 1)[0])
        h = (1 - z) * h + z * n
    else:
        i, f, o, g = (a + b for a, b in zip(from_x, from_h, strict=True))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return naive_excitation(layer.attention, h), c


def naive_stages(net: Rescan, rainy: Tensor) -> list[Tensor]:
    """All stages on one picture (3, H, W), with states of zeros before the first."""
    zeros = [torch.zeros(width, *rainy.shape[1:], dtype=rainy.dtype) for width in net.config.widths]
    states = [(zero, zero) for zero in zeros[:-1]]
    x, results = rainy, []
    for _ in range(net.config.stages):
        features = x
        for index, layer in enumerate(net.layers):
            dilation = (1, 1, 2, 4, 8)[index]
            states[index] = naive_layer(layer, net.config.unit, features, states[index], dilation)
            features = states[index][0]
        features = naive_convolution(features, net.merge.weight, net.merge.bias, 1)
        features = naive_excitation(net.merge_attention, features)
        rain = naive_convolution(features, net.exit.weight, net.exit.bias, 1)
        x = (x if net.config.prediction == "additive" else rainy) - rain
        results.append(x)
    return results


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["full", "additive"])
@pytest.mark.parametrize("unit", UNITS)
def test_it_equals_the_equations(unit: Unit, prediction: Any) -> None:
    net = build(replace(SMALL, unit=unit, prediction=prediction))
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
    assert (net.config.width, net.config.stages, net.config.unit) == (24, 4, "gru")
    assert net.merge_attention.squeeze.out_channels == 6


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 3), (37, 21)])
def test_any_size_is_legal_and_untrained_nothing_changes(size: tuple[int, int]) -> None:
    rainy = torch.rand(2, 3, *size)
    assert RescanConfig().size_multiple == 1
    for prediction in ("full", "additive"):
        assert torch.equal(Rescan(RescanConfig(prediction=prediction))(rainy), rainy)


@pytest.mark.parametrize("make", [ConvRNNCell, ConvGRUCell, ConvLSTMCell])
def test_no_state_stands_for_zeros_in_every_cell(make: Any) -> None:
    torch.manual_seed(0)
    cell = make(4, 3, 2).double()
    x, zeros = picture(5, 7), torch.zeros(1, 4, 5, 7, dtype=torch.float64)
    found, wanted = cell(x), cell(x, *(zeros,) * (2 if make is ConvLSTMCell else 1))
    if make is ConvLSTMCell:
        found, wanted = found[0], wanted[0]
    assert torch.allclose(found, wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("unit", UNITS)
def test_every_weight_learns(unit: Unit) -> None:
    net = build(replace(SMALL, unit=unit, stages=2))
    net(picture(17, 19)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("prediction", ["full", "additive"])
def test_the_losses_of_all_stages_add_up_to_that_of_the_paper(prediction: Any) -> None:
    net = build(replace(SMALL, prediction=prediction))
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


def test_widths_of_layers() -> None:
    config = RescanConfig(depth=3, layer_widths=(4, 6), squeeze_widths=(2, 3))
    net = build(config)
    shapes = [tuple(net.merge.weight.shape[:2]), net.layers[0].attention.squeeze.out_channels]  # type: ignore[union-attr]
    assert shapes == [(6, 4), 2]
    assert net.merge_attention.squeeze.out_channels == 3
    assert net(picture(3, 4)).shape == (1, 3, 3, 4)


@pytest.mark.parametrize("values", [{"unit": "rnn"}, {"prediction": "both"}])
def test_unknown_choices_are_refused(values: dict[str, str]) -> None:
    ((key, _),) = values.items()
    with pytest.raises(ConfigError, match=f"{key}: must be one of"):
        network_config("rescan", values)
