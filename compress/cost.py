"""The cost of a network: weights, multiply-accumulates, receptive field, bytes of its artifact."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from core.checkpoint import Checkpoint
from torch.utils.flop_counter import FlopCounterMode

_FLOPS_PER_MAC = 2
_COUNTED_SIDE = 64


@dataclass(frozen=True)
class Cost:
    """Cost of a network, independent of the machine.

    Attributes:
        parameters: number of weights.
        macs_per_pixel: multiply-accumulates of all convolutions and matrix products, divided by
            the number of input pixels (height times width). Additions, activations and biases
            are not counted.
        receptive_field: side in pixels of the square of inputs that one output depends on; None
            where that is the whole picture, as with global pooling.
        halo: pixels around a tile that make its result equal to that of the whole picture: the
            distance to the farthest input that matters, rounded up to the size multiple, so that
            a tile widened by it still starts on the grid of the network's strides. None where no
            halo does.
        bytes_fp32: bytes of the weights in fp32, without the graph around them.
    """

    parameters: int
    macs_per_pixel: float
    receptive_field: int | None
    halo: int | None
    bytes_fp32: int


def measure_cost(module: nn.Module, size_multiple: int) -> Cost:
    """Measure what ``module`` costs, on the CPU and without changing it.

    Args:
        module: takes and returns float (N, 3, H, W).
        size_multiple: height and width must be multiples of this many pixels.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    field = measure_receptive_field(module, size_multiple)
    return Cost(
        parameters=parameters,
        macs_per_pixel=macs_per_pixel(module, size_multiple),
        receptive_field=field.size if field else None,
        halo=-(-field.radius // size_multiple) * size_multiple if field else None,
        bytes_fp32=4 * parameters,
    )


def macs_per_pixel(module: nn.Module, size_multiple: int) -> float:
    """Count multiply-accumulates in one forward pass, per input pixel.

    Every product is counted, those with padded zeros too, as papers and other counters do.
    Arguments as :func:`measure_cost`.
    """
    side = -(-_COUNTED_SIDE // size_multiple) * size_multiple
    like = next(module.parameters(), torch.empty(0))
    picture = torch.zeros(1, 3, side, side, dtype=like.dtype, device=like.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(picture)
    flops: int = counter.get_total_flops()
    return flops / _FLOPS_PER_MAC / side**2


PROBES = (512, 1024)
"""Lengths in pixels of the pictures on which a receptive field is looked for, half as long."""

_WIDTH = 16


@dataclass(frozen=True)
class ReceptiveField:
    """Which input pixels an output pixel depends on.

    Attributes:
        size: side in pixels of the smallest square that holds all of them, for the output pixel
            that needs the largest.
        radius: pixels from an output pixel to the farthest of them, along either axis.
    """

    size: int
    radius: int


def measure_receptive_field(module: nn.Module, size_multiple: int) -> ReceptiveField | None:
    """Measure the receptive field of a network of three channels in and out.

    A float64 copy gets positive weights and biases and sees a positive picture, so every ReLU
    stays open and contributions add up instead of cancelling. The gradient of one output pixel is
    then non-zero at just those inputs that the structure connects to it, whatever the weights are:
    the theoretical field of Luo et al. 2016 (arXiv:1701.04128). With strides it depends on the
    pixel's place on the grid, so every phase of ``size_multiple`` is tried. Height and width are
    measured one after the other on long strips, because the reach of a convolution along one axis
    does not depend on the other.

    Args:
        module: takes and returns float (N, 3, H, W); it is left as it is.
        size_multiple: height and width must be multiples of this many pixels.

    Returns:
        The field, or None where it is longer than half of the longest strip, as with global
        pooling: every pixel may then depend on the whole picture.
    """
    probe = _positive_copy(module)
    for length in PROBES:
        field = _measure_within(probe, _round_up(length, size_multiple), size_multiple)
        if field is not None:
            return field
    return None


def _positive_copy(module: nn.Module) -> nn.Module:
    probe = copy.deepcopy(module).cpu().double().eval()
    for parameter in probe.parameters():
        # Layers that quarter their input keep values near 1, also where several add up: deep
        # residual networks do not overflow, and gates stay open, where a saturated sigmoid or tanh
        # would pass on no gradient.
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        parameter.data.fill_(0.25 / fan_in)
        parameter.requires_grad_(False)
    return probe


def _measure_within(probe: nn.Module, length: int, size_multiple: int) -> ReceptiveField | None:
    """Measure on strips of ``length`` pixels; None where the field leaves their middle half.

    Beyond that, dilated taps could jump over the end of the strip without ever touching it.
    """
    size = radius = 0
    start = length // 2 // size_multiple * size_multiple
    for position in range(start, start + size_multiple):
        for vertical in (False, True):
            first, last = _reach(
                probe, length, _round_up(_WIDTH, size_multiple), position, vertical
            )
            if first < length // 4 or last >= 3 * length // 4:
                return None
            size = max(size, last - first + 1)
            radius = max(radius, position - first, last - position)
    return ReceptiveField(size, radius)


def _reach(
    probe: nn.Module, length: int, width: int, position: int, vertical: bool
) -> tuple[int, int]:
    """Return the first and last pixel along a strip on which that at ``position`` depends."""
    shape = (1, 3, length, width) if vertical else (1, 3, width, length)
    strip = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    row, column = (position, width // 2) if vertical else (width // 2, position)
    with torch.enable_grad():
        output = probe(strip)[0, :, row, column].sum()
        (gradient,) = torch.autograd.grad(output, strip)
    reached = gradient[0].ne(0).any(dim=0).any(dim=1 if vertical else 0).nonzero().flatten()
    return (int(reached[0]), int(reached[-1])) if len(reached) else (position, position)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


Precision = Literal["fp32", "fp16", "int8"]
WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
_BIAS_AND_SCALE = 9
"""int8: each output channel has a bias of 4 bytes, a scale of 4 and a zero point of 1."""
_GRAPH, _LAYER = 1700, 575
"""Bytes of an ONNX file beside the weights, and for each layer: nodes, names, scales, and what of
a card lies inside. Rather too large: exports of students of 4 to 22 layers had 1200 to 2600 bytes
less."""


def artifact_bytes(net: nn.Module, precision: Precision, keep_float: Collection[str] = ()) -> int:
    """Return about how many bytes the ONNX file of ``net`` has.

    Weights, biases and scales are counted; the graph around them is estimated, rather too large.

    Args:
        net: not quantized; its layers may be on any device.
        precision: of the artifact.
        keep_float: names of layers whose weights stay in float in an int8 artifact.
    """
    named = {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    }
    weights = WEIGHT_BYTES[precision] * sum(parameter.numel() for parameter in net.parameters())
    extra = 0
    if precision == "int8":
        for name, layer in named.items():
            if name in keep_float:
                held = sum(parameter.numel() for parameter in layer.parameters())
                extra += (WEIGHT_BYTES["fp32"] - WEIGHT_BYTES["int8"]) * held
            elif layer.bias is not None:
                extra += (_BIAS_AND_SCALE - 1) * layer.out_channels
    return weights + extra + _GRAPH + _LAYER * len(named)


def checkpoint_bytes(checkpoint: Checkpoint) -> int:
    """Return about how many bytes the ONNX file of a checkpoint has, in its own precision."""
    floats = checkpoint.quantization.float_layers if checkpoint.quantization else ()
    return artifact_bytes(checkpoint.unquantized().build(), checkpoint.precision, floats)
