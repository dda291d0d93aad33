"""The Pareto front: what nothing else beats, and what each step along it buys."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One artifact on a curve.

    Attributes:
        label: Short name of the artifact, not shared with another.
        cost: kB or ms; less is better.
        quality: dB; more is better.
        kind: Precision, for the colour. ``mark``: format, for the shape.
    """

    label: str
    cost: float
    quality: float
    kind: str = "fp32"
    mark: str = "onnx"


@dataclass(frozen=True)
class Step:
    """What it takes to go from one point of the front to the next, larger one.

    Attributes:
        smaller: Where from. ``larger``: where to.
        cost: How much more it costs. ``quality``: how many dB that buys.
    """

    smaller: Point
    larger: Point
    cost: float
    quality: float

    @property
    def rate(self) -> float:
        """dB for one unit of cost."""
        return self.quality / self.cost


def unbeaten(costs: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the places of those that no other beats, in order.

    To beat is to cost no more in any way, and not the same in all; of equals all are kept.
    """

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    return [place for place, it in enumerate(costs) if not any(beats(other, it) for other in costs)]


def pareto_front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that none beats in both cost and quality, from cheap to dear.

    Of several points with equal cost and quality, the first is kept.
    """
    found = [points[place] for place in unbeaten([(p.cost, -p.quality) for p in points])]
    kept = {(point.cost, point.quality): point for point in reversed(found)}
    return tuple(kept[key] for key in sorted(kept))


def steps(front: Sequence[Point]) -> tuple[Step, ...]:
    """Return what lies between the neighbours on a front, from cheap to dear."""
    return tuple(
        Step(a, b, b.cost - a.cost, b.quality - a.quality) for a, b in itertools.pairwise(front)
    )
