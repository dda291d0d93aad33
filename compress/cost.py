"""What a network costs to run: weights, multiply-accumulates, and how far it looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compress.receptive_field import measure_receptive_field

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
