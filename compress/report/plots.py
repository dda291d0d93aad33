"""Plots of a report, drawn by matplotlib once: as PNG, and as SVG in the colours of its page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from compress.pareto import Point, pareto_front
from edge_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

COLOURS = {"fp32": "#0072b2", "fp16": "#009e73", "int8": "#d55e00", "dynamic": "#cc79a7"}
"""By precision, after Okabe and Ito: told apart with any kind of colour vision."""
_MARKS = {"onnx": "o", "tflite": "s"}
_TEXT, _QUIET, _LINE, _BAR, _CARD = "#1d2126", "#5b6570", "#dfe3e7", "#0b63b0", "#ffffff"
_ON_PAGE = {_TEXT: "text", _QUIET: "quiet", _LINE: "line", _BAR: "accent", _CARD: "card"}
_ON_PAGE |= {colour: kind for kind, colour in COLOURS.items()}
"""The variable of the page's style sheet that takes the place of each colour."""
_DOTS = 72  # pixels an inch, so that a point is a pixel
_LABEL = 12
_BINS = 12
_PLACES = ((10, 0), (-10, 0), (0, 12), (0, -13), (8, 9), (8, -10), (-8, 9), (-8, -10))
"""Places of a label around its point, in pixels, best first."""


_LEFT_OUT = (
    r"(?s)<metadata>.*?</metadata>",
    r"(?s)<style.*?</style>",
    r"(?s)<clipPath.*?</clipPath>",
    r' clip-path="[^"]*"',
    r' id="(?:[a-zA-Z.]+|line2d)_\d+"',
    r"font(?:-family|-size|-weight|-style)?: [^;\"]*;? ?",
)
"""Of an SVG that lies on a page: what others on the page would clash with, and fonts."""


@dataclass(frozen=True)
class Size:
    """A size in pixels, and the class of the SVG, by which a page chooses among several."""

    name: str
    width: int
    height: int


WIDE, NARROW, BARS = Size("wide", 640, 380), Size("narrow", 360, 340), Size("bars", 320, 176)
"""Of curves, of curves on a phone, and of histograms."""


def curve(
    points: Sequence[Point],
    titles: tuple[str, str],
    level: tuple[str, float] | None = None,
    size: Size = WIDE,
) -> Figure:
    """Draw quality against cost, with the Pareto front as a line.

    A label is left out where it would cover a point, the level or another label; those of the
    front find their places first.

    Args:
        points: At least one; costs above 0.
        titles: What the horizontal, logarithmic axis shows, and what the vertical one.
        level: A name and a quality to mark by a dashed line, such as the teacher's.
        size: In pixels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(size, titles)
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    front = pareto_front(points)
    costs = [point.cost for point in points]
    qualities = [point.quality for point in points] + ([level[1]] if level else [])
    margin = max((max(qualities) - min(qualities)) * 0.15, 0.1)
    axes.set(xscale="log", xlim=(min(costs) / 1.35, max(costs) * 1.35))
    axes.set(ylim=(min(qualities) - margin, max(qualities) + margin))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=99))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
    axes.grid(color=_LINE, linewidth=0.7)
    axes.spines[:].set_visible(False)
    line = [(p.cost, p.quality) for p in front]
    axes.plot(*zip(*line, strict=True), color=_QUIET, linewidth=2, zorder=2)
    for number, point in enumerate(points):
        axes.scatter(
            point.cost,
            point.quality,
            s=120,
            c=COLOURS[point.kind],
            marker=_MARKS[point.mark],
            edgecolors=_CARD,
            linewidths=1.5,
            alpha=1.0 if point in front else 0.5,
            zorder=3,
            gid=f"point-{number}",
        )
    _label(axes, points, front, level)
    return figure


def histogram(values: Sequence[float], edges: Sequence[float], title: str, most: int) -> Figure:
    """Draw how many values fall between neighbouring ``edges``; ``most`` is the highest bar.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(BARS, ("loss against the teacher in dB", title))
    from matplotlib.ticker import MaxNLocator

    axes.hist(values, bins=list(edges), color=_BAR, rwidth=0.92)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, max(most, 1)))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_yticks([most])
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    return figure


def bin_edges(values: Sequence[float]) -> list[float]:
    """Return round edges of about a dozen equal bins that hold all values."""
    low, high = min(values), max(values)
    rough = max(high - low, 0.05) / _BINS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.floor(low / step)
    return [number * step for number in range(first, max(math.ceil(high / step), first + 1) + 1)]


def png(figure: Figure) -> bytes:
    """Return a figure as PNG of twice its size in pixels, for a README or a paper."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=2 * _DOTS)
    return target.getvalue()


def svg(figure: Figure, size: Size, name: str, told: Sequence[str] = ()) -> str:
    """Return a figure as SVG that takes its colours and fonts from the page around it.

    Args:
        figure: From this module.
        size: That it was drawn in.
        name: What a screen reader says.
        told: What each point of a curve says under the mouse.
    """
    from matplotlib import rc_context

    target = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{size.name} {name}"}):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    drawn = target.getvalue()
    drawn = drawn[drawn.index(">", drawn.index("<svg ")) + 1 :]
    for left_out in _LEFT_OUT:
        drawn = re.sub(left_out, "", drawn)
    drawn = drawn.replace('<g id="label">', '<g class="label">')
    for colour, variable in _ON_PAGE.items():
        drawn = drawn.replace(colour, f"var(--{variable})")
    for number, text in enumerate(told):
        group = f'<g id="point-{number}">'
        drawn = drawn.replace(group, f"<g><title>{escape(text)}</title>")
    return (
        f'<svg class="{size.name}" viewBox="0 0 {size.width} {size.height}" role="img" '
        f'aria-label="{escape(name)}">{drawn}'
    )


def _figure(size: Size, titles: tuple[str, str]) -> tuple[Figure, Axes]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
    figure = Figure(figsize=(size.width / _DOTS, size.height / _DOTS), dpi=_DOTS)
    FigureCanvasAgg(figure)
    left, right, top, bottom = 50, 16, 28, 52
    width, height = size.width, size.height
    inside = (width - left - right) / width, (height - top - bottom) / height
    axes = figure.add_axes((left / width, bottom / height, *inside))
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=_QUIET, labelsize=_LABEL)
    axes.set_xlabel(titles[0], color=_QUIET, fontsize=_LABEL, labelpad=8)
    figure.text(8 / width, 1 - 5 / height, titles[1], fontsize=_LABEL, color=_QUIET, va="top")
    return figure, axes


def _label(
    axes: Axes, points: Sequence[Point], front: Sequence[Point], level: tuple[str, float] | None
) -> None:
    """Name the level, and the points that have room for it."""
    taken = [_box(axes, (point.cost, point.quality), 6) for point in points]
    lines: list[Bbox] = []
    if level:
        axes.axhline(level[1], color=_QUIET, linestyle=(0, (4, 3)), linewidth=1.4, zorder=1)
        end = axes.get_xlim()[1]
        places = ((-1, 8), (-1, -8))
        said = f"{level[0]} {level[1]:.2f}"
        for avoided in (taken, []):
            box = _write(axes, said, (end, level[1]), places, avoided, color=_QUIET)
            if box:
                taken.append(box)
                break
        lines.append(_box(axes, (end, level[1]), 1, wide=2 * axes.bbox.width))
    for point in sorted(points, key=lambda each: each not in front):
        # Across a line is better than no label, on the front.
        tries = [[*taken, *lines], list(taken)] if point in front else [[*taken, *lines]]
        alpha = 1.0 if point in front else 0.65
        for avoided in tries:
            where = (point.cost, point.quality)
            box = _write(axes, point.label, where, _PLACES, avoided, color=_TEXT, alpha=alpha)
            if box:
                taken.append(box)
                break


def _write(
    axes: Axes,
    said: str,
    where: tuple[float, float],
    places: Sequence[tuple[float, float]],
    avoided: Sequence[Bbox],
    **style: Any,
) -> Bbox | None:
    """Write a label around a point, in the first place that is clear, and return its box."""
    canvas: Any = axes.figure.canvas
    for right, up in places:
        text = axes.annotate(
            said,
            where,
            (right, up),
            textcoords="offset points",
            ha="left" if right > 0 else "right" if right < 0 else "center",
            va="center" if up == 0 else "bottom" if up > 0 else "top",
            fontsize=_LABEL,
            gid="label",
            **style,
        )
        box: Bbox = text.get_window_extent(canvas.get_renderer())
        inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.figure.bbox.x1
        inside = inside and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
        if inside and not any(box.overlaps(other) for other in avoided):
            return box
        text.remove()
    return None


def _box(axes: Axes, where: tuple[float, float], reach: float, wide: float = 0) -> Bbox:
    """Return the pixels around a point, to so many above and below, and left and right."""
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform(where)
    across = wide or reach
    return Bbox.from_extents(x - across, y - reach, x + across, y + reach)
