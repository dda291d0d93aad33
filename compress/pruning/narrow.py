"""Narrowing: the least important channels go until a network costs what it may."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from compress.cost import macs_per_pixel
from compress.pruning.dependencies import Axis, find_axes

ROUND_TO = 8
"""Widths become multiples of this, as vector units like them; narrower layers stay as they are."""


@dataclass(frozen=True)
class Goal:
    """What a network may cost.

    Attributes:
        unit: ``bytes`` are those of the weights in fp32.
        limit: in that unit, above 0.
    """

    unit: Literal["MACs per pixel", "bytes"]
    limit: float

    def cost(self, net: nn.Module, size_multiple: int) -> float:
        """Measure ``net`` in ``unit``; it is left as it is."""
        if self.unit == "bytes":
            return 4 * sum(parameter.numel() for parameter in net.parameters())
        return macs_per_pixel(copy.deepcopy(net).to("meta"), size_multiple)

    def smallest(self, net: nn.Module, size_multiple: int) -> float:
        """Measure what is left of ``net`` with all axes as narrow as they may get."""
        net = copy.deepcopy(net)
        for axis in find_axes(net, size_multiple):
            axis.remove(list(range(max(0, axis.width - ROUND_TO))))
        return self.cost(net, size_multiple)


def narrow(
    net: nn.Module, axes: Sequence[Axis], importance: Sequence[Tensor], goal: Goal, multiple: int
) -> None:
    """Remove channels from ``net``, the least important first, until ``goal`` is reached.

    Of each axis go as many at once as leave a multiple of :data:`ROUND_TO`, by their mean
    importance over all axes, and the last of them never do. A goal out of reach leaves the
    smallest net.

    Args:
        net: is changed; its ``config`` is not.
        axes: of ``net``.
        importance: float (width,) for each axis.
        goal: what it may cost.
        multiple: of its input's height and width.
    """
    ranks = [values.argsort().tolist() for values in importance]
    left = [list(range(axis.width)) for axis in axes]
    bundles: list[tuple[float, int, list[int]]] = []

    def offer(index: int) -> None:
        width = axes[index].width
        if width > ROUND_TO:
            bundle = ranks[index][: width % ROUND_TO or ROUND_TO]
            heapq.heappush(bundles, (float(importance[index][bundle].mean()), index, bundle))

    for index in range(len(axes)):
        offer(index)
    while bundles and goal.cost(net, multiple) > goal.limit:
        _, index, bundle = heapq.heappop(bundles)
        axes[index].remove(sorted(left[index].index(channel) for channel in bundle))
        left[index] = [channel for channel in left[index] if channel not in bundle]
        ranks[index] = ranks[index][len(bundle) :]
        offer(index)
