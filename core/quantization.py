"""Quantization: what a checkpoint records of it, its arithmetic, its places in a network."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from core.errors import CheckpointError, ConfigError

Scheme = Literal["int8", "fp16"]
LEAST, MOST = -128, 127
"""Codes of int8."""


@dataclass(frozen=True)
class TensorScale:
    """The storage of an activation: ``x = scale (code - zero_point)``, codes -128 to 127.

    Attributes:
        scale: above 0, in units of the tensor.
        zero_point: the code of 0, so that zero padding is exact.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not self.scale > 0 or not LEAST <= self.zero_point <= MOST:
            raise ConfigError(
                f"scale {self.scale} must be above 0 and zero_point {self.zero_point} within "
                f"[{LEAST}, {MOST}]; quantize the checkpoint again"
            )

    @classmethod
    def of_range(cls, low: float, high: float, symmetric: bool = False) -> TensorScale:
        """Cover ``[low, high]``, widened to hold 0 (Jacob et al. 2018, arXiv:1712.05877, eq. 1).

        Args:
            low: smallest value; values below it will saturate.
            high: largest value.
            symmetric: take zero point 0, at the cost of the codes that one sign leaves unused.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if symmetric:
            return cls(max(-low, high) / MOST or 1.0, 0)
        scale = (high - low) / (MOST - LEAST) or 1.0
        return cls(scale, max(LEAST, min(MOST, round(LEAST - low / scale))))

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value that the codes stand for."""
        return (LEAST - self.zero_point) * self.scale, (MOST - self.zero_point) * self.scale


@dataclass(frozen=True)
class Quantization:
    """The arithmetic that a network runs in.

    ``int8``: weights have one symmetric scale for each output channel and activations one scale
    and zero point a tensor, chosen so that ONNX and TFLite can both hold them: codes of weights
    stay within -127 to 127, zero points of weights are 0, an activation after a ReLU is stored
    once, and both operands and the result of an addition are stored. Biases are whole multiples of
    input scale times weight scale, as the int32 that integer kernels add. What is added to the
    rainy picture is stored, the sum is float.

    ``fp16``: weights and arithmetic in half precision, pictures in float32; nothing else to record.

    Attributes:
        scheme: ``int8`` or ``fp16``.
        activations: scale by tensor; a tensor is named after the layer that makes it, ``@2`` and
            so on where the layer runs again, or after the input or operation that does.
        weights: scales by layer, one for each output channel.
        float_layers: layers that stay in float32.
    """

    scheme: Scheme
    activations: dict[str, TensorScale] = field(default_factory=dict)
    weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()


def fake_quantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Round an activation to what int8 can hold.

    ``scale (clamp(round(x / scale) + zero_point, -128, 127) - zero_point)``, halves to even, as
    ONNX QuantizeLinear and DequantizeLinear do. The gradient passes straight through where x is
    inside the range and is 0 outside (Bengio et al. 2013, arXiv:1308.3432).

    Args:
        x: float, any shape.
        scale: as that of :class:`TensorScale`, likewise ``zero_point``.

    Returns:
        float32, shaped like ``x``.
    """
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero_point, LEAST, MOST)


def fake_quantize_weight(weight: Tensor, scales: Tensor, axis: int) -> Tensor:
    """Round a weight to int8 with one symmetric scale for each index of ``axis``.

    Args:
        weight: float, any shape.
        scales: float32 (C,), C being the size of ``axis``.
        axis: of the output channels.

    Returns:
        float32, shaped like ``weight``; the gradient is that of :func:`fake_quantize`.
    """
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros, axis, LEAST, MOST)


def weight_scales(weight: Tensor, axis: int) -> tuple[float, ...]:
    """Return scales under which the largest weight of each channel becomes code 127.

    A channel of zeros takes scale 1. Arguments as :func:`fake_quantize_weight`.
    """
    largest = weight.detach().abs().transpose(0, axis).flatten(1).amax(1).float()
    return tuple(value / MOST or 1.0 for value in largest.tolist())


Layer = nn.Conv2d | nn.ConvTranspose2d
_ADDITIONS = (operator.add, torch.add, "add")
_RELUS = (torch.relu, F.relu, "relu")


class _Tracer(fx.Tracer):
    """Takes every layer as one operation, those of this project's own classes too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Layer) or super().is_leaf_module(m, module_qualified_name)


class Placement:
    """Which tensors of a network are stored as int8 when some of its layers are.

    A layer, convolution or transposed convolution, reads its input and stores its output as int8,
    the latter after the ReLU that may follow. An addition of two tensors that are stored so stores
    its sum, again after its ReLU. All else stays float: attention, gates, pooling, and the sum with
    the rainy picture, because the picture itself is stored for the first layer only.

    Args:
        module: traced, not changed.
        int8_layers: names of the layers to quantize; None takes all.

    Attributes:
        graph: what the module computes.
        layers: all layers of the module in the order of their first run, by name.
        produced: nodes whose value is stored for all that follows.
        consumed: nodes whose value is stored only for the layers that read it.
        names: tensor by node; the same whatever ``int8_layers`` is.
        owner: layer by tensor: the one that made it last, or the first that reads it.
    """

    def __init__(self, module: nn.Module, int8_layers: Container[str] | None = None) -> None:
        self.graph = _Tracer().trace(module)
        self.layers: dict[str, Layer] = {}
        self.produced: set[fx.Node] = set()
        self.consumed: set[fx.Node] = set()
        self.names: dict[fx.Node, str] = {}
        self.owner: dict[str, str] = {}
        self._modules = dict(module.named_modules(remove_duplicate=False))
        runs: Counter[str] = Counter()
        latest = ""
        for node in self.graph.nodes:
            self.names.setdefault(node, node.name)
            layer = self._module(node)
            if isinstance(layer, Layer):
                latest = str(node.target)
                self.layers[latest] = layer
                runs[latest] += 1
                (source,), result = node.all_input_nodes, self._through_relu(node)
                self.owner.setdefault(self.names[source], latest)
                run = f"@{runs[latest]}" if runs[latest] > 1 else ""
                self.names[result] = latest + run
                if int8_layers is None or latest in int8_layers:
                    self.produced.add(result)
                    self.consumed.add(source)
            elif _is(node, _ADDITIONS):
                result = self._through_relu(node)
                self.names[result] = node.name
                if all(operand in self.produced for operand in node.args):
                    self.produced.add(result)
            self.owner.setdefault(self.names[node], latest)
        self.consumed -= self.produced

    @property
    def stored(self) -> dict[fx.Node, str]:
        """All nodes that are stored, with their tensors, in the order of the graph."""
        nodes = self.produced | self.consumed
        return {node: self.names[node] for node in self.graph.nodes if node in nodes}

    def follows_relu(self, node: fx.Node) -> bool:
        """Tell whether the value of ``node`` is that of a ReLU."""
        return _is(node, _RELUS) or isinstance(self._module(node), nn.ReLU)

    def _through_relu(self, node: fx.Node) -> fx.Node:
        (user, *others) = node.users
        return user if not others and self.follows_relu(user) else node

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._modules.get(str(node.target)) if node.op == "call_module" else None


def _is(node: fx.Node, targets: Sequence[Any]) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets


def fake_quantized(module: nn.Module, quantization: Quantization) -> nn.Module:
    """Make ``module`` compute what its int8 artifact computes, in place.

    Its weights, their names and its class stay as they are: gradients reach the float weights, so
    that the same training loop fine-tunes it (Jacob et al. 2018, section 3). Only biases are
    rounded here and now, to the int32 of integer kernels, whose half unit is up to a tenth of a
    code; those of a layer that runs several times, on inputs of other scales, are not.

    Args:
        module: any network that torch.fx can trace.
        quantization: of scheme ``int8``.

    Returns:
        ``module``.

    Raises:
        CheckpointError: scales that are missing or belong to nothing in this network.
    """
    placement = Placement(module, quantization.weights)
    for problem, name in _mismatches(placement, quantization):
        raise CheckpointError(f"quantization: {problem} {name!r}; quantize the checkpoint again")
    layers = {
        name: _Int8Layer(placement.layers[name], scales)
        for name, scales in quantization.weights.items()
    }
    _round_biases(placement, quantization)
    graph = placement.graph
    stored: dict[fx.Node, fx.Node] = {}
    for node, name in placement.stored.items():
        scale = quantization.activations[name]
        with graph.inserting_after(node):
            stored[node] = graph.call_function(fake_quantize, (node, scale.scale, scale.zero_point))
    for node, rounded in stored.items():
        for user in list(node.users):
            reads_int8 = node in placement.produced or _runs(user, layers)
            if user is not rounded and reads_int8:
                user.replace_input_with(node, rounded)
    computation = fx.GraphModule(module, graph)
    for node in graph.nodes:
        if _runs(node, layers):
            place = f"int8_{node.target.replace('.', '_')}"
            computation.add_submodule(place, layers[node.target])
            node.target = place
    computation.recompile()
    object.__setattr__(module, "forward", computation.forward)
    return module


def half_precision(module: nn.Module) -> nn.Module:
    """Make ``module`` compute in float16 between float32 pictures, in place; return it."""

    def to_half(_: nn.Module, pictures: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(picture.half() for picture in pictures)

    module.half().register_forward_pre_hook(to_half)
    module.register_forward_hook(lambda _module, _pictures, result: result.float())
    return module


class _Int8Layer(nn.Module):
    """A layer with its weight rounded to int8."""

    def __init__(self, layer: Layer, scales: Sequence[float]) -> None:
        super().__init__()
        self.layer, self.scales, self.axis = layer, list(scales), channel_axis(layer)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        scales = layer.weight.new_tensor(self.scales)
        weight = fake_quantize_weight(layer.weight, scales, self.axis)
        if isinstance(layer, nn.Conv2d):
            result: Tensor = layer._conv_forward(x, weight, layer.bias)
            return result
        return F.conv_transpose2d(
            x,
            weight,
            layer.bias,
            layer.stride,
            layer.padding,  # type: ignore[arg-type]  # text only in convolutions
            layer.output_padding,
            layer.groups,
            layer.dilation,
        )


@torch.no_grad()
def _round_biases(placement: Placement, quantization: Quantization) -> None:
    read: dict[str, set[float]] = {}
    for node in placement.graph.nodes:
        if _runs(node, quantization.weights):
            (source,) = node.all_input_nodes
            scale = quantization.activations[placement.names[source]].scale
            read.setdefault(node.target, set()).add(scale)
    for name, scales in read.items():
        bias = placement.layers[name].bias
        if bias is not None and len(scales) == 1:
            unit = bias.new_tensor(quantization.weights[name]) * scales.pop()
            bias.copy_((bias / unit).round() * unit)


def _runs(node: fx.Node, layers: Container[str]) -> bool:
    return node.op == "call_module" and node.target in layers


def channel_axis(layer: Layer) -> int:
    """Return the axis of a layer's weight that runs over its output channels."""
    return 0 if isinstance(layer, nn.Conv2d) else 1


def _mismatches(placement: Placement, quantization: Quantization) -> Iterator[tuple[str, str]]:
    named = {*quantization.weights, *quantization.float_layers}
    for name in sorted(named ^ placement.layers.keys()):
        yield ("there is no layer" if name in named else "nothing is said of layer"), name
    wanted = set(placement.stored.values())
    for name in sorted(wanted ^ quantization.activations.keys()):
        yield ("there is no scale of tensor" if name in wanted else "there is no tensor"), name
    for name, scales in quantization.weights.items():
        layer = placement.layers[name]
        if len(scales) != layer.out_channels or not min(scales, default=0) > 0:
            yield f"{layer.out_channels} scales above 0 are needed for layer", name
