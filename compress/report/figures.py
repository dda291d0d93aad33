"""Curves and histograms as SVG that takes its colours from the page around it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from compress.report.front import Point, pareto_front

_LETTER = 6.8  # width of one in a label of 12 pixels, on average
_SPREAD = 1.35  # of a logarithmic axis beyond its points, as a factor

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


@dataclass(frozen=True)
class Frame:
    """The size of a curve in pixels, of which labels have 12, and what surrounds its axes."""

    name: str
    width: int
    height: int
    left: int = 50
    right: int = 16
    top: int = 26
    bottom: int = 52

    @property
    def end(self) -> int:
        """Where the horizontal axis ends. ``floor`` is where the vertical one begins."""
        return self.width - self.right

    @property
    def floor(self) -> int:
        """Where the vertical axis begins."""
        return self.height - self.bottom


WIDE = Frame("wide", 640, 380)
NARROW = Frame("narrow", 360, 340)
"""For a phone."""


@dataclass(frozen=True)
class Axis:
    """From values to pixels, linear or logarithmic.

    Attributes:
        low: Smallest value shown. ``high``: largest.
        start: Pixel of ``low``. ``stop``: pixel of ``high``.
        log: Whether equal distances are equal factors.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        return self.start + (self._scaled(value) - low) / (high - low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Return round values from low to high: 1, 2, 5 and their tenfolds."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            each = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
            return [value for value in each if self.low <= value <= self.high]
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


@dataclass(frozen=True)
class Layout:
    """Where everything on a curve lies, in pixels from the upper left corner.

    Attributes:
        across: Axis of the cost. ``up``: axis of the quality.
        front: The points of the Pareto front.
        labels: By point, the left end of its label's base line; None where there is no room.
        level_base: Base line of the name of the level, which ends where the axis does.
    """

    across: Axis
    up: Axis
    front: tuple[Point, ...]
    labels: dict[Point, tuple[float, float] | None]
    level_base: float = 0.0


def lay_out(points: Sequence[Point], level: tuple[str, float] | None, frame: Frame) -> Layout:
    """Choose the axes, and the places of the labels so that none covers another or a point.

    Args:
        points: At least one, with costs above 0.
        level: A name and a quality that will be marked by a line, its label at the right.
        frame: The size.
    """
    costs = [point.cost for point in points]
    qualities = [point.quality for point in points] + ([level[1]] if level else [])
    margin = max((max(qualities) - min(qualities)) * 0.15, 0.1)
    low, high = min(qualities) - margin, max(qualities) + margin
    ends = (min(costs) / _SPREAD, max(costs) * _SPREAD)
    across = Axis(*ends, frame.left, frame.end, log=True)
    up = Axis(low, high, frame.floor, frame.top)
    front = pareto_front(points)
    taken = [_box(across(p.cost) - 7, up(p.quality) - 7, 14, 14) for p in points]
    lines: list[Box] = []
    level_base = 0.0
    if level:
        lines.append(_box(frame.left, up(level[1]) - 1, frame.end - frame.left, 2))
        width = _LETTER * (len(level[0]) + 6)
        boxes = {
            base: _box(frame.end - width, base - 12, width, 16)
            for base in (up(level[1]) - 6, up(level[1]) + 16)
        }
        clear = (b for b, box in boxes.items() if not any(_overlap(box, other) for other in taken))
        level_base = next(clear, next(iter(boxes)))
        taken.append(boxes[level_base])
    labels: dict[Point, tuple[float, float] | None] = {}
    for point in sorted(points, key=lambda p: p not in front):
        x, y = across(point.cost), up(point.quality)
        # Across a line is better than no label, on the front.
        tries = [[*taken, *lines], taken] if point in front else [[*taken, *lines]]
        labels[point] = _label(point, x, y, tries, frame)
        if place := labels[point]:
            taken.append(_label_box(point, *place))
    return Layout(across, up, front, labels, level_base)


def curve(
    points: Sequence[Point],
    titles: tuple[str, str],
    name: str,
    level: tuple[str, float] | None = None,
    frame: Frame = WIDE,
) -> str:
    """Draw quality against cost, with the Pareto front as a line.

    Args:
        points: At least one; costs above 0.
        titles: What the horizontal, logarithmic axis shows, and what the vertical one.
        name: What a screen reader says.
        level: A name and a quality to mark by a dashed line, such as the teacher's.
        frame: The size.
    """
    laid = lay_out(points, level, frame)
    parts = [_grid(laid, titles, frame)]
    if level:
        y = laid.up(level[1])
        parts.append(
            f'<line class="level" x1="{frame.left}" x2="{frame.end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="level-name" x="{frame.end}" y="{laid.level_base:.1f}" '
            'text-anchor="end">'
            f"{escape(level[0])} {level[1]:.2f}</text>"
        )
    line = " ".join(f"{laid.across(p.cost):.1f},{laid.up(p.quality):.1f}" for p in laid.front)
    parts.append(f'<polyline class="front" points="{line}"/>')
    parts += [_marker(point, laid) for point in laid.labels]
    return _svg(name, parts, frame.width, frame.height, frame.name)


def histogram(
    values: Sequence[float], edges: Sequence[float], title: str, name: str, most: int
) -> str:
    """Draw how many values fall between neighbouring ``edges``; ``most`` is the highest bar."""
    counts = count(values, edges)
    width, height, left, bottom = 320, 150, 30, 34
    across = Axis(edges[0], edges[-1], left, width - 8)
    up = Axis(0, max(most, 1), height - bottom, 22)
    parts = [f'<text class="title" x="{left}" y="14">{escape(title)}</text>']
    for number, low, high in zip(counts, edges, edges[1:], strict=False):
        x, y = across(low), up(number)
        parts.append(
            f'<rect class="bar" x="{x + 0.5:.1f}" y="{y:.1f}" '
            f'width="{max(across(high) - x - 1, 1):.1f}" height="{up(0) - y:.1f}">'
            f"<title>{low:.2f} to {high:.2f} dB: {number}</title></rect>"
        )
    parts.append(f'<line class="axis" x1="{left}" x2="{width - 8}" y1="{up(0)}" y2="{up(0)}"/>')
    for tick in across.ticks():
        x = across(tick)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - 18}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(
        f'<text class="tick" x="{left - 5}" y="{up(most) + 4:.1f}" text-anchor="end">{most}</text>'
        f'<text class="axis-title" x="{(left + width) / 2}" y="{height - 3}" '
        'text-anchor="middle">loss against the teacher in dB</text>'
    )
    return _svg(name, parts, width, height, "bars")


def bin_edges(values: Sequence[float], bins: int = 12) -> list[float]:
    """Return round edges of about ``bins`` equal bins that hold all values."""
    low, high = min(values), max(values)
    step = _round_step(max(high - low, 0.05) / bins)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [number * step for number in range(first, last + 1)]


def count(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count the values of each bin; the last one holds its upper edge too."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = sum(value >= edge for edge in edges) - 1
        counts[min(max(place, 0), len(counts) - 1)] += 1
    return counts


def _grid(laid: Layout, titles: tuple[str, str], frame: Frame) -> str:
    parts = []
    for value in laid.across.ticks():
        x = laid.across(value)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.floor}"/>'
            f'<text class="tick" x="{x:.1f}" y="{frame.floor + 18}" text-anchor="middle">'
            f"{value:g}</text>"
        )
    for value in laid.up.ticks():
        y = laid.up(value)
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{tidy(value)}</text>"
        )
    middle = (frame.left + frame.end) / 2
    parts.append(
        f'<text class="axis-title" x="{middle}" y="{frame.height - 10}" text-anchor="middle">'
        f"{escape(titles[0])}</text>"
        f'<text class="axis-title" x="8" y="14">{escape(titles[1])}</text>'
    )
    return "".join(parts)


def _marker(point: Point, laid: Layout) -> str:
    x, y = laid.across(point.cost), laid.up(point.quality)
    classes = f"point {escape(point.kind)}" + ("" if point in laid.front else " beaten")
    shape = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        if point.mark == "onnx"
        else f'<rect x="{x - 5.5:.1f}" y="{y - 5.5:.1f}" width="11" height="11" rx="1.5"/>'
    )
    told = f"{point.label}: {point.cost:.4g}, {point.quality:.2f} dB"
    found = f'<g class="{classes}"><title>{escape(told)}</title>{shape}'
    if place := laid.labels[point]:
        found += f'<text x="{place[0]:.1f}" y="{place[1]:.1f}">{escape(point.label)}</text>'
    return found + "</g>"


def _label(
    point: Point, x: float, y: float, tries: Sequence[Sequence[Box]], frame: Frame
) -> tuple[float, float] | None:
    """Find a place around a point that is clear of the first boxes, or else of the next."""
    width = _LETTER * len(point.label)
    places = [(x + 10, y + 4), (x - 10 - width, y + 4), (x - width / 2, y - 12)]
    places += [(x - width / 2, y + 20), (x + 8, y - 10), (x + 8, y + 18)]
    places += [(x - width - 8, y - 10), (x - width - 8, y + 18)]
    for avoided, (left, base) in itertools.product(tries, places):
        box = _label_box(point, left, base)
        inside = box[0] >= frame.left and box[2] <= frame.width and box[1] >= frame.top
        if inside and box[3] <= frame.floor and not any(_overlap(box, other) for other in avoided):
            return left, base
    return None


def _label_box(point: Point, left: float, base: float) -> Box:
    return _box(left, base - 11, _LETTER * len(point.label), 14)


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x, y, x + width, y + height


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def tidy(value: float) -> str:
    """Return a number on an axis without the noise of its last digits."""
    return f"{value:.10g}" if abs(value) > 1e-9 else "0"


def _svg(name: str, parts: Sequence[str], width: int, height: int, kind: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )
