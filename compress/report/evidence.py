"""The report of size against quality: what every kilobyte and every millisecond buys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compress.pareto import Point, Step, pareto_front, steps
from compress.report.gate import Condition, Verdict
from compress.report.pictures import Gallery, make_gallery
from compress.report.results import Entry, Measured, Results
from core.config import nearest
from edge_runtime import __version__
from edge_runtime.errors import UsageError
from edge_runtime.report.reference import ReferenceSet

_ONE_TEACHER_DB = 0.005  # scores that differ by less are those of one teacher


@dataclass(frozen=True)
class Curve:
    """Quality against one kind of cost.

    Attributes:
        stem: Of the picture file, such as ``size``.
        title: Heading. ``unit``: of the cost, ``kB`` or ``ms``.
        place: Where and how it was measured; empty for what is the same everywhere.
        points: The artifacts, at least one.
        level: The teacher's name and quality, where known.
        unscored: Artifacts that are missing, because they have no score on the column.
    """

    stem: str
    title: str
    unit: str
    place: str
    points: tuple[Point, ...]
    level: tuple[str, float] | None
    unscored: tuple[str, ...] = ()

    @property
    def cost_title(self) -> str:
        """Title of the horizontal axis."""
        return "artifact in kB" if self.unit == "kB" else "ms a picture"

    @property
    def front(self) -> tuple[Point, ...]:
        """The artifacts that none beats."""
        return pareto_front(self.points)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it takes to go along the front."""
        return steps(self.front)


@dataclass(frozen=True)
class Branch:
    """Steps of recipes, one after the other, up to where they part or an artifact is made.

    Attributes:
        depth: How often recipes parted before.
        steps: One at least; the first of a root says of which teacher.
        files: Artifacts that were finished by the last of them.
    """

    depth: int
    steps: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All that a report says.

    Attributes:
        results: What was gathered.
        column: The quality that curves are about, ``DATASET/PROTOCOL``.
        curves: Size first, then latency place by place.
        tree: Recipes from teacher to artifact; a branch comes before what follows from it.
        gallery: Pictures.
        verdicts: Of the conditions, in order.
        version: Of this package.
    """

    results: Results
    column: str
    curves: tuple[Curve, ...]
    tree: tuple[Branch, ...]
    gallery: Gallery
    verdicts: tuple[Verdict, ...]
    version: str = __version__

    @property
    def failed(self) -> bool:
        """Whether any artifact fails any condition."""
        return any(verdict.lines for verdict in self.verdicts)


def make_evidence(
    results: Results,
    reference: ReferenceSet,
    column: str | None = None,
    conditions: Sequence[Condition] = (),
) -> Evidence:
    """Draw everything together.

    Args:
        results: Artifacts, checkpoints and device reports.
        reference: The reference set whose pictures are shown.
        column: Quality that the curves are about; None chooses the column of which most artifacts
            have a score, and of those the one with most losses against a teacher.
        conditions: That fail a report.

    Raises:
        UsageError: An unknown column, or nothing is scored.
        ImageError, ReferenceSetError: A picture of the set cannot be read.
    """
    chosen = _choose_column(results, column)
    curves = _curves(results, chosen)
    return Evidence(
        results=results,
        column=chosen,
        curves=curves,
        tree=recipe_tree(results.entries),
        gallery=make_gallery(results, reference),
        verdicts=tuple(each.judge(results.entries, chosen) for each in conditions),
    )


def recipe_tree(entries: Sequence[Entry]) -> tuple[Branch, ...]:
    """Return the recipes of artifacts as trees: what they share is one branch."""
    by_teacher: dict[str, list[Entry]] = {}
    for entry in entries:
        teacher = entry.card.teacher
        label = f"teacher {teacher.name}" if teacher and teacher.taught else "without a teacher"
        by_teacher.setdefault(label, []).append(entry)
    return tuple(
        branch for label, members in by_teacher.items() for branch in _branches(label, members)
    )


def _choose_column(results: Results, column: str | None) -> str:
    known = results.columns
    if not known:
        raise UsageError(
            "no artifact is scored; measure with edge-report --json, or export with "
            "--quality-config"
        )
    if column is not None:
        if column not in known:
            raise UsageError(f"--quality {column!r}: unknown; {nearest(column, known)}")
        return column

    def known_of(name: str) -> tuple[int, int]:
        found = [entry.columns[name] for entry in results.entries if name in entry.columns]
        return len(found), sum(each.loss_db is not None for each in found)

    return max(known, key=known_of)  # of equals the first


def _curves(results: Results, column: str) -> tuple[Curve, ...]:
    level = _teacher_level(results, column)
    labels = _labels(results.entries)
    scored = [entry for entry in results.entries if column in entry.columns]
    rest = [entry for entry in results.entries if column not in entry.columns]

    def point(entry: Entry, cost: float) -> Point:
        quality, card = entry.columns[column].psnr, entry.card
        # To hundredths of a dB, as the tables show it: less is no reason to pay more.
        return Point(labels[entry.file], cost, round(quality, 2), card.precision, card.format)

    sizes = tuple(point(entry, entry.kilobytes) for entry in scored)
    unscored = tuple(labels[entry.file] for entry in rest)
    curves = [Curve("size", "Size against quality", "kB", "", sizes, level, unscored)]
    by_place: dict[str, list[tuple[Entry, Measured]]] = {}
    for entry in scored:
        for found in entry.measured:
            by_place.setdefault(found.place, []).append((entry, found))
    for number, (place, measured) in enumerate(by_place.items(), start=1):
        times = tuple(point(entry, m.report.latency.median_ms) for entry, m in measured)
        title = f"Latency on {measured[0][1].machine.cpu}"
        unscored = tuple(
            labels[entry.file] for entry in rest if place in (m.place for m in entry.measured)
        )
        curves.append(Curve(f"latency-{number}", title, "ms", place, times, level, unscored))
    return tuple(curves)


def _labels(entries: Sequence[Entry]) -> dict[str, str]:
    """Return short names by file: without the suffix where that is enough to tell them apart."""
    stems = Counter(entry.file.rpartition(".")[0] for entry in entries)
    return {
        entry.file: entry.file if stems[stem] > 1 or not stem else stem
        for entry in entries
        for stem in [entry.file.rpartition(".")[0]]
    }


def _teacher_level(results: Results, column: str) -> tuple[str, float] | None:
    """Return the teacher's name and PSNR; None where it is unknown or not one for all."""
    columns = [entry.columns[column] for entry in results.entries if column in entry.columns]
    known = [each.teacher_psnr for each in columns if each.teacher_psnr is not None]
    if len(known) < len(columns) or max(known) - min(known) > _ONE_TEACHER_DB:
        return None
    [teacher, *others] = {each.teacher for each in columns}
    return (f"teacher {results.teachers[teacher]}", known[0]) if teacher and not others else None


def _branches(
    label: str, entries: Sequence[Entry], done: int = 0, depth: int = 0
) -> Iterator[Branch]:
    """Follow recipes of which ``done`` steps are told, after what ``label`` says."""
    steps = [label]
    while True:
        finished = tuple(entry.file for entry in entries if len(entry.card.recipe) == done)
        following: dict[str, list[Entry]] = {}
        for entry in entries:
            if len(entry.card.recipe) > done:
                following.setdefault(entry.card.recipe[done], []).append(entry)
        done += 1
        if finished or len(following) != 1:
            break
        [(step, entries)] = following.items()
        steps.append(step)
    yield Branch(depth, tuple(steps), finished)
    for step, members in following.items():
        yield from _branches(step, members, done, depth + 1)
