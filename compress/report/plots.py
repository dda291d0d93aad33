"""The curves as PNG, by matplotlib, for a README or a paper."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from compress.report.figures import WIDE, lay_out, tidy
from compress.report.front import Point
from edge_runtime.errors import MissingExtraError

COLOURS = {"fp32": "#0072b2", "fp16": "#009e73", "int8": "#d55e00", "dynamic": "#cc79a7"}
"""By precision, after Okabe and Ito: told apart with any kind of colour vision."""
_MARKS = {"onnx": "o", "tflite": "s"}
_QUIET = "#5b6570"
_LABEL = 12 * 72 / 100  # points of 12 pixels, a hundred to the inch


def curve_png(
    points: Sequence[Point], titles: tuple[str, str], level: tuple[str, float] | None = None
) -> bytes:
    """Draw what ``report_figures.curve`` draws, as PNG of 1280 x 760 pixels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None

    frame = WIDE
    figure = Figure(figsize=(frame.width / 100, frame.height / 100), dpi=200)
    FigureCanvasAgg(figure)
    laid = lay_out(points, level, frame)
    width, height = frame.width, frame.height
    inside = (frame.end - frame.left) / width, (frame.floor - frame.top) / height
    axes = figure.add_axes((frame.left / width, frame.bottom / height, *inside))
    axes.set(xscale="log", xlim=(laid.across.low, laid.across.high))
    axes.set(ylim=(laid.up.low, laid.up.high), xlabel=titles[0])
    axes.set_xticks(laid.across.ticks(), [f"{tick:g}" for tick in laid.across.ticks()])
    axes.set_yticks(laid.up.ticks(), [tidy(tick) for tick in laid.up.ticks()])
    axes.minorticks_off()
    axes.grid(color="#dfe3e7", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=_QUIET, labelsize=_LABEL)
    axes.xaxis.label.set(color=_QUIET, fontsize=_LABEL)
    quiet: dict[str, Any] = {"fontsize": _LABEL, "color": _QUIET}
    figure.text(8 / width, 1 - 14 / height, titles[1], **quiet)
    axes.plot([p.cost for p in laid.front], [p.quality for p in laid.front], color=_QUIET, zorder=1)
    if level:
        axes.axhline(level[1], color=_QUIET, linestyle="--", linewidth=1, zorder=1)
        said = f"{level[0]} {level[1]:.2f}"
        figure.text(frame.end / width, 1 - laid.level_base / height, said, ha="right", **quiet)
    for point, place in laid.labels.items():
        alpha = 1.0 if point in laid.front else 0.5
        style: dict[str, Any] = {
            "color": COLOURS[point.kind],
            "marker": _MARKS[point.mark],
            "alpha": alpha,
        }
        axes.scatter(point.cost, point.quality, s=70, edgecolors="white", zorder=2, **style)
        if place:
            left, base = place[0] / width, 1 - place[1] / height
            figure.text(left, base, point.label, fontsize=_LABEL, alpha=max(alpha, 0.65))
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()
