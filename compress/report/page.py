"""A report as one page of HTML that needs nothing else: no script, font or picture from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compress.report.figures import NARROW, WIDE, Frame, bin_edges, count, curve, histogram
from compress.report.peers import peer_rows, sources_named
from compress.report.pictures import HEAT_LEVELS
from compress.report.text import (
    about,
    cost_rows,
    endured,
    loss_rows,
    places_named,
    quality_rows,
    step_rows,
)
from edge_runtime.errors import MissingExtraError
from edge_runtime.report.text import ENDURANCE

if TYPE_CHECKING:
    from compress.report.evidence import Curve, Evidence


def page(evidence: Evidence) -> str:
    """Return the page.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise MissingExtraError("jinja2", "report") from None
    environment = Environment(
        loader=PackageLoader("compress"),
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
                "wide": Markup(_curve(each, evidence.column, WIDE)),
                "narrow": Markup(_curve(each, evidence.column, NARROW)),
                "steps": step_rows(each),
            }
            for each in evidence.curves
        ],
        costs=cost_rows(evidence),
        endured=[(place, (head, rows)) for place, head, rows in endured(evidence)],
        endurance=ENDURANCE,
        on_front=_files(evidence),
        qualities={protocol: found for protocol, found in qualities.items() if len(found[0]) > 1},
        peers=peer_rows(evidence.peers, evidence.results.entries),
        sources=sources_named(evidence.peers),
        ours={entry.file for entry in evidence.results.entries},
        losses=loss_rows(evidence),
        histograms=[Markup(svg) for svg in _histograms(evidence)],
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


def _curve(drawn: Curve, column: str, frame: Frame) -> str:
    front = ", ".join(point.label for point in drawn.front)
    name = f"{drawn.title}: PSNR on {column}. On the Pareto front: {front}. Tables below have all."
    titles = (drawn.cost_title, f"PSNR in dB, {column}")
    return curve(drawn.points, titles, name, drawn.level, frame)


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
    most = max(max(count(values, edges)) for values in losses.values())
    return [
        histogram(values, edges, file, f"Losses of {file} picture by picture", most)
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
