"""The files of a report: a page of HTML that needs nothing from outside, tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compress.report.evidence import Curve, Evidence
from compress.report.pictures import HEAT_LEVELS
from compress.report.plots import BARS, NARROW, WIDE, Size, bin_edges, curve, histogram, png, svg
from compress.report.text import (
    about,
    cost_rows,
    csv_table,
    endured,
    licences,
    loss_rows,
    markdown,
    places_named,
    quality_rows,
    step_rows,
    unscored,
)
from edge_runtime.errors import MissingExtraError, UsageError
from edge_runtime.files import write_atomically
from edge_runtime.report.device import ENDURANCE


def write_report(evidence: Evidence, folder: Path, *, force: bool) -> tuple[Path, ...]:
    """Write the page, the same as Markdown and CSV, and the curves as PNG; return their paths.

    Raises:
        UsageError: The folder holds something already and ``force`` is off, or cannot be written.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not force)):
        raise UsageError(f"-o {folder}: is there already; add --force, or name a new folder")
    files = {f"{each.stem}.png": png(_drawn(each, evidence)) for each in evidence.curves}
    files["report.csv"] = csv_table(evidence).encode()
    files["report.md"] = markdown(evidence).encode()
    files["index.html"] = page(evidence).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise UsageError(f"-o {folder}: cannot be written ({error.strerror})") from error
    return tuple(folder / name for name in files)


def page(evidence: Evidence) -> str:
    """Return the page.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise MissingExtraError("jinja2", "report") from None
    environment = Environment(
        loader=PackageLoader("compress.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    qualities = {protocol: quality_rows(evidence, protocol) for protocol in ("rgb", "y")}
    return environment.get_template("report.html").render(
        evidence=evidence,
        about=about(evidence),
        places=places_named(evidence),
        curves=[
            {
                "curve": each,
                "wide": Markup(_curve(each, evidence, WIDE)),
                "narrow": Markup(_curve(each, evidence, NARROW)),
                "steps": step_rows(each),
                "unscored": unscored(each, evidence),
            }
            for each in evidence.curves
        ],
        costs=cost_rows(evidence),
        endured=[(place, (head, rows)) for place, head, rows in endured(evidence)],
        endurance=ENDURANCE,
        on_front=_files(evidence),
        qualities={protocol: found for protocol, found in qualities.items() if len(found[0]) > 1},
        licences=licences(evidence),
        losses=loss_rows(evidence),
        histograms=[Markup(drawn) for drawn in _histograms(evidence)],
        precisions=list(dict.fromkeys(e.card.precision for e in evidence.results.entries)),
        formats=list(dict.fromkeys(e.card.format for e in evidence.results.entries)),
        heat_levels=HEAT_LEVELS,
        pictures=_pictures(evidence),
    )


def _files(evidence: Evidence) -> set[str]:
    """Return the files on the front of size."""
    labels = {point.label for point in evidence.curves[0].front}
    return {
        e.file for e in evidence.results.entries if {e.file, e.file.rpartition(".")[0]} & labels
    }


def _drawn(each: Curve, evidence: Evidence, size: Size | None = None) -> Any:
    """Draw a curve; by itself, without a page around it, it says what the page would."""
    cost = each.cost_title
    if size is None:
        cost += f" ({each.place})" if each.place else ""
        cost += f"\nnot scored: {', '.join(each.unscored)}" if each.unscored else ""
    titles = (cost, f"PSNR in dB, {evidence.column}")
    return curve(each.points, titles, each.level, size or WIDE)


def _curve(each: Curve, evidence: Evidence, size: Size) -> str:
    front = ", ".join(point.label for point in each.front)
    name = (
        f"{each.title}: PSNR on {evidence.column}. On the Pareto front: {front}. "
        "Tables below have all."
    )
    told = [f"{p.label}: {p.cost:.4g}, {p.quality:.2f} dB" for p in each.points]
    return svg(_drawn(each, evidence, size), size, name, told)


def _histograms(evidence: Evidence) -> list[str]:
    """Draw the losses of each artifact over the same bins, so that they can be compared."""
    losses = {
        entry.file: [s.psnr_loss_db for s in entry.pictures if s.protocol == "rgb" and s.rainy]
        for entry in evidence.results.entries
    }
    losses = {file: values for file, values in losses.items() if values}
    if not losses:
        return []
    edges = bin_edges([value for values in losses.values() for value in values])
    most = max(int(np.histogram(values, edges)[0].max()) for values in losses.values())
    return [
        svg(histogram(values, edges, file, most), BARS, f"Losses of {file} picture by picture")
        for file, values in losses.items()
    ]


def _pictures(evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {
            "name": shown.name,
            "width": shown.width,
            "height": shown.height,
            "views": [{"name": view.name, "address": view.address} for view in shown.views],
        }
        for shown in evidence.gallery.shown
    ]
