"""How far a network looks: measured exactly on the network itself, not derived by formula."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

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
