"""Fake quantization against numpy, and where int8 stands in a network."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import CheckpointError, ConfigError
from core.networks.deconv import DeconvConfig, DeconvNet
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.student import StudentConfig, StudentNet
from core.quantization import (
    Placement,
    Quantization,
    TensorScale,
    channel_axis,
    fake_quantize,
    fake_quantize_weight,
    fake_quantized,
    half_precision,
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


NETWORKS = {
    "student": lambda: StudentNet(StudentConfig((8, 16), (1, 1), (1,))),
    "deconv": lambda: DeconvNet(DeconvConfig((8, 8))),
    "gan_lstm": lambda: GanLstm(
        GanLstmConfig(width=8, stages=2, blocks=3, attention="spatial", body_depth=1)
    ),
}


def _record(module: nn.Module, step: float = 1 / 16) -> Quantization:
    placement = Placement(module)
    return Quantization(
        "int8",
        {name: TensorScale(step, 0) for name in placement.stored.values()},
        {
            name: weight_scales(each.weight, channel_axis(each))
            for name, each in placement.layers.items()
        },
    )


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, rainy: Tensor) -> Tensor:
        x = torch.relu(self.first(rainy))
        return rainy + torch.relu(x + self.second(x))


def test_a_block_by_hand() -> None:
    torch.manual_seed(0)
    block = _Block()
    record = _record(block)
    assert list(record.activations) == ["rainy", "first", "second", "add"]
    assert Placement(block).owner["add"] == "second"

    def weight(layer: nn.Conv2d, scales: tuple[float, ...]) -> Tensor:
        wide = torch.tensor(scales).reshape(-1, 1, 1, 1)
        return (layer.weight / wide).round() * wide

    def rounded(x: Tensor) -> Tensor:
        return fake_quantize(x, 1 / 16, 0)

    def bias(layer: nn.Conv2d, scales: tuple[float, ...]) -> Tensor:
        assert layer.bias is not None
        unit = torch.tensor(scales) / 16  # weight scale times input scale
        return (layer.bias / unit).round() * unit

    rainy = torch.rand(2, 3, 4, 4)
    with torch.no_grad():
        first, second = (
            (weight(layer, record.weights[name]), bias(layer, record.weights[name]))
            for name, layer in (("first", block.first), ("second", block.second))
        )
        x = rounded(torch.relu(nn.functional.conv2d(rounded(rainy), *first)))
        y = rounded(nn.functional.conv2d(x, *second))
        wanted = rainy + rounded(torch.relu(x + y))  # the picture itself is not rounded
        found = fake_quantized(block, record)(rainy)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_stays_what_it_was_but_for_its_arithmetic(name: str) -> None:
    torch.manual_seed(0)
    module = NETWORKS[name]()
    nn.init.normal_(next(iter(reversed(list(module.parameters())))))
    plain = copy.deepcopy(module)
    rainy = torch.rand(1, 3, 16, 16)
    quantized = fake_quantized(module, _record(module))
    assert type(quantized) is type(plain)
    assert quantized.state_dict().keys() == plain.state_dict().keys()
    assert not torch.equal(quantized(rainy), plain(rainy))
    quantized(rainy).sum().backward()
    assert all(
        each.grad is not None
        for layer in Placement(plain).layers
        for each in quantized.get_submodule(layer).parameters()
    )


def test_biases_are_whole_multiples_of_what_integer_kernels_add() -> None:
    module = NETWORKS["student"]()
    record = _record(module)
    before = {name: each.clone() for name, each in module.state_dict().items()}
    fake_quantized(module, record)
    for name, scales in record.weights.items():
        units = module.state_dict()[f"{name}.bias"] / (torch.tensor(scales) / 16)
        torch.testing.assert_close(units, units.round(), atol=1e-3, rtol=0)
        moved = (module.state_dict()[f"{name}.bias"] - before[f"{name}.bias"]).abs()
        assert (moved <= torch.tensor(scales) / 32 * 1.001).all()
    # Shared layers read tensors of several scales.
    shared = NETWORKS["gan_lstm"]()
    record = _record(shared)
    record.activations["cat"] = TensorScale(1 / 8, 0)
    before = shared.state_dict()["entry.bias"].clone()
    fake_quantized(shared, record)
    assert torch.equal(shared.state_dict()["entry.bias"], before)


def test_a_copy_has_its_own_weights() -> None:
    # The moving average of a training run is such a copy.
    torch.manual_seed(0)
    module = fake_quantized(NETWORKS["student"](), _record(NETWORKS["student"]()))
    nn.init.normal_(module.exit.weight)  # type: ignore[union-attr, arg-type]
    rainy = torch.rand(1, 3, 8, 8)
    twin = copy.deepcopy(module)
    before = module(rainy)
    assert torch.equal(twin(rainy), before)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert torch.equal(module(rainy), before)
    assert torch.equal(twin(rainy), rainy)


def test_layers_in_float_read_and_store_floats() -> None:
    module = NETWORKS["student"]()
    placement = Placement(module, {"down.0"})
    assert list(placement.stored.values()) == ["add", "down.0"]
    everything = Placement(module)
    names = set(everything.stored.values())
    assert names >= {"rainy", "entry", "encoder.0.0.first", "encoder.0.0.second", "exit"}
    for layer in everything.layers:
        assert set(Placement(module, {layer}).stored.values()) <= names


def test_shared_layers_have_a_scale_for_every_run() -> None:
    names = set(Placement(NETWORKS["gan_lstm"]()).stored.values())
    assert {"entry", "entry@2", "body.0.first", "body.0.first@2"} <= names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {}}, "nothing is said of layer 'decoder.0.0.first'"),
        ({"float_layers": ("head",)}, "there is no layer 'head'"),
        ({"activations": {}}, "there is no scale of tensor 'add'"),
    ],
)
def test_records_of_another_network(change: dict[str, object], message: str) -> None:
    module = NETWORKS["student"]()
    record = dataclasses.replace(_record(module), **change)
    with pytest.raises(CheckpointError, match=f"{message}; quantize the checkpoint again"):
        fake_quantized(module, record)


def test_scales_for_another_width() -> None:
    module = NETWORKS["student"]()
    record = _record(module)
    record.weights["exit"] = (1.0,)
    with pytest.raises(CheckpointError, match="3 scales above 0 are needed for layer 'exit'"):
        fake_quantized(module, record)


def test_half_precision_between_float_pictures() -> None:
    torch.manual_seed(0)
    module = NETWORKS["student"]()
    nn.init.normal_(module.exit.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    plain, rainy = copy.deepcopy(module), torch.rand(1, 3, 8, 8)
    found, wanted = half_precision(module)(rainy), plain(rainy)
    assert found.dtype == torch.float32
    assert torch.equal(found, found.half().float())
    assert 0 < (found - wanted).abs().max() < 2e-3
