"""Tables of a report, and the whole as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from compress.report.evidence import Curve, Evidence
from compress.report.results import REFERENCE
from edge_runtime.report.device import ENDURANCE, endurance_rows
from edge_runtime.terminal import markdown_table

ABSENT = "–"


def number(value: float | None, form: str) -> str:
    """Format a number, or say that there is none; what rounds to zero has no sign."""
    if value is None:
        return ABSENT
    written = format(value, form)
    return written.lstrip("-") if float(written) == 0 else written


def cost_rows(evidence: Evidence) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of what each artifact costs, with its loss on the report's column."""
    places = _places(evidence)
    head = ["artifact", "format", "precision", "kB", "kMAC/pixel", "PSNR", "loss dB", "SSIM loss"]
    against = losses_against(evidence)
    if len(against) > 1:
        head.append("against")
    for letter in _letters(places):
        head += [f"{name}{letter}" for name in ("ms", "p95 ms", "peak MB")]
    rows = []
    for entry in evidence.results.entries:
        scored = entry.columns.get(evidence.column)
        row = [
            *(entry.file, entry.card.format, entry.card.precision),
            f"{entry.kilobytes:,.0f}",
            f"{entry.card.macs_per_pixel / 1000:.1f}",
            number(scored.psnr if scored else None, ".2f"),
            number(scored.loss_db if scored else None, ".2f"),
            number(scored.ssim_loss if scored else None, ".4f"),
        ]
        if len(against) > 1:
            row.append(next((name for name in against if entry.file in against[name]), ABSENT))
        by_place = {found.place: found.report for found in entry.measured}
        for place in places:
            found = by_place.get(place)
            row += [
                number(found.latency.median_ms if found else None, ".1f"),
                number(found.latency.p95_ms if found else None, ".1f"),
                number(found.peak_bytes / 10**6 if found else None, ".0f"),
            ]
        rows.append(row)
    return head, rows


def quality_rows(evidence: Evidence, protocol: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of PSNR and SSIM on every data set under one protocol."""
    columns = [name for name in evidence.results.columns if name.endswith(f"/{protocol}")]
    head = ["artifact", *(name.removesuffix(f"/{protocol}") for name in columns)]
    entries = evidence.results.entries
    known = {name: [e.columns[name] for e in entries if name in e.columns] for name in columns}
    first = [known[name][0] for name in columns]
    rows = [["input", *(f"{each.input_psnr:.2f} / {each.input_ssim:.4f}" for each in first)]]
    for teacher, called in evidence.results.teachers.items():
        taught = [next((c for c in known[n] if c.teacher == teacher), None) for n in columns]
        if any(taught):
            cells = [
                f"{c.teacher_psnr:.2f} / {c.teacher_ssim:.4f}" if c else ABSENT for c in taught
            ]
            rows.append([f"teacher {called}", *cells])
    for entry in entries:
        found = [entry.columns.get(name) for name in columns]
        cells = [f"{each.psnr:.2f} / {each.ssim:.4f}" if each else ABSENT for each in found]
        rows.append([entry.file, *cells])
    return head, rows


def endured(evidence: Evidence) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Return place, head and rows of time and heat over minutes, where devices measured them."""
    found = []
    for device in evidence.results.devices:
        head, rows = endurance_rows(device.artifacts)
        if rows:
            found.append((device.machine.cpu, head, rows))
    return found


def step_rows(curve: Curve) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of what each step along a Pareto front buys."""
    head = ["from", "to", f"{curve.unit} more", "dB more", f"dB per {curve.unit}"]
    rows = [
        [
            *(step.smaller.label, step.larger.label),
            f"{step.cost:,.1f}",
            f"{step.quality:.2f}",
            f"{step.rate:.4f}",
        ]
        for step in curve.steps
    ]
    return head, rows


def loss_rows(evidence: Evidence) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the pictures on which most is lost."""
    head = ["picture", "artifact", "loss dB", "PSNR", "teacher PSNR", "input PSNR"]
    rows = [
        [
            *(loss.picture, loss.file),
            *(number(value, ".2f") for value in (loss.scores.psnr_loss_db, loss.scores.psnr)),
            *(f"{value:.2f}" for value in (loss.scores.teacher_psnr, loss.scores.input_psnr)),
        ]
        for loss in evidence.gallery.worst
    ]
    return head, rows


def markdown(evidence: Evidence) -> str:
    """Return the report as Markdown; the curves are the PNG files beside it."""
    parts = ["# What every kilobyte buys", "\n".join(f"- {line}" for line in about(evidence))]
    for verdict in evidence.verdicts:
        failed = "; ".join(verdict.lines)
        parts.append(f"Fail if `{verdict.title}`: {failed or 'no artifact does'}.")
    for curve in evidence.curves:
        parts += [f"## {curve.title}", *([curve.place] if curve.place else [])]
        parts.append(f"![{curve.title}]({curve.stem}.png)")
        front = ", ".join(point.label for point in curve.front)
        parts.append(f"On the Pareto front: {front}.{unscored(curve, evidence)}")
        if curve.steps:
            parts.append(markdown_table(*step_rows(curve), 2))
    parts += ["## Artifacts", markdown_table(*cost_rows(evidence), 3), *places_named(evidence)]
    for place, titles, lines in endured(evidence):
        parts += [f"## Time on end on {place}", markdown_table(titles, lines, 1), ENDURANCE]
    for protocol in ("rgb", "y"):
        head, rows = quality_rows(evidence, protocol)
        if len(head) > 1:
            parts += [f"## PSNR / SSIM, {protocol}", markdown_table(head, rows, 1)]
    if evidence.gallery.worst:
        parts += ["## Where most is lost", markdown_table(*loss_rows(evidence), 2)]
    parts += ["## Licences", *(f"- {line}" for line in licences(evidence))]
    parts += ["## Recipes", "\n".join(_tree_lines(evidence))]
    return "\n\n".join(parts) + "\n"


def csv_table(evidence: Evidence) -> str:
    """Return one line for each artifact, numbers with all their digits, unknown ones empty."""
    entries = evidence.results.entries
    columns = evidence.results.columns
    places = _places(evidence)
    head = [
        "file",
        "name",
        "format",
        "precision",
        "bytes",
        "parameters",
        "macs_per_pixel",
        "licence",
    ]
    parts = ("psnr", "ssim", "loss_db", "ssim_loss")
    head += [f"{column} {part}" for column in columns for part in parts]
    head.append(f"{REFERENCE}/rgb fidelity_db")
    head += [f"{part} ({place})" for place in places for part in ("ms", "p95_ms", "peak_bytes")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for entry in entries:
        card = entry.card
        line: list[object] = [entry.file, card.name, card.format, card.precision]
        line += [card.bytes, card.parameters, card.macs_per_pixel, card.licence]
        for column in columns:
            scored = entry.columns.get(column)
            line += [getattr(scored, part, None) for part in parts]
        overall = entry.overall("rgb")
        line.append(overall.fidelity_db if overall else None)
        by_place = {found.place: found.report for found in entry.measured}
        for place in places:
            found = by_place.get(place)
            latency = found.latency if found else None
            line += [getattr(latency, part, None) for part in ("median_ms", "p95_ms")]
            line.append(found.peak_bytes if found else None)
        writer.writerow(line)
    return text.getvalue()


def about(evidence: Evidence) -> list[str]:
    """Say in a few statements what the report compares, and how."""
    results = evidence.results
    said = [f"Quality on the curves is PSNR on {evidence.column}, in dB."]
    against = losses_against(evidence)
    if len(against) == 1:
        said.append(f"Loss is against the teacher {next(iter(against))}.")
    elif against:
        each = "; ".join(f"of {', '.join(files)} against {name}" for name, files in against.items())
        said.append(f"Loss is against several teachers: {each}.")
    if results.reference:
        said.append(
            f"The data set “{REFERENCE}” is one of {results.reference.images} pictures "
            f"({results.reference.sha256[:12]}), its teacher is {results.reference.teacher}. "
            f"{results.reference.protocol}."
        )
    for device in results.devices:
        engines = ", ".join(device.machine.engines.values())
        said.append(
            f"Measured on {device.machine.cpu} (cores: {device.machine.cores}, "
            f"{device.machine.system}, {engines}), {device.made[:10]}."
        )
    return said


def losses_against(evidence: Evidence) -> Mapping[str, Sequence[str]]:
    """Return by teacher the artifacts whose loss on the report's column is against it."""
    found: dict[str, list[str]] = {}
    for entry in evidence.results.entries:
        scored = entry.columns.get(evidence.column)
        if scored and scored.teacher:
            found.setdefault(evidence.results.teachers[scored.teacher], []).append(entry.file)
    return found


def unscored(curve: Curve, evidence: Evidence) -> str:
    """Say which artifacts a curve lacks; empty where it has all."""
    if not curve.unscored:
        return ""
    return f" Not scored on {evidence.column}, so not drawn: {', '.join(curve.unscored)}."


def licences(evidence: Evidence) -> list[str]:
    """Say the licence of every artifact, each licence once."""
    found: dict[str, list[str]] = {}
    for entry in evidence.results.entries:
        found.setdefault(entry.card.licence, []).append(entry.file)
    return [f"{', '.join(files)}: {licence}" for licence, files in found.items()]


def places_named(evidence: Evidence) -> list[str]:
    """Say what the letters in the head of the costs stand for; empty where there are none."""
    places = _places(evidence)
    if len(places) < 2:
        return places
    return [f"{letter.strip()}: {p}" for letter, p in zip(_letters(places), places, strict=True)]


def _places(evidence: Evidence) -> list[str]:
    return list(dict.fromkeys(m.place for e in evidence.results.entries for m in e.measured))


def _letters(places: Sequence[str]) -> list[str]:
    """Return what is added to a heading to tell places apart: nothing for one, or A, B, C."""
    return [""] if len(places) == 1 else [f" {chr(ord('A') + i)}" for i in range(len(places))]


def _tree_lines(evidence: Evidence) -> list[str]:
    return [
        f"{'  ' * branch.depth}- {' → '.join([*branch.steps, *(f'**{f}**' for f in branch.files)])}"
        for branch in evidence.tree
    ]
