"""The report of size against quality: what every kilobyte and every millisecond buys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from compress.pareto import Point, Step, pareto_front, steps
from compress.report.gate import Condition
from compress.report.pictures import Gallery, make_gallery
from compress.report.results import REFERENCE, Entry, Measured, Results
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
    """

    stem: str
    title: str
    unit: str
    place: str
    points: tuple[Point, ...]
    level: tuple[str, float] | None

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
    """A step of a recipe, and what came of it.

    Attributes:
        label: The step, or the teacher at the root.
        branches: The steps that followed.
        entries: Artifacts that were finished by this step.
    """

    label: str
    branches: tuple[Branch, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Verdict:
    """A condition and the artifacts that fail it, one line each."""

    condition: Condition
    violations: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All that a report says.

    Attributes:
        results: What was gathered.
        column: The quality that curves are about, ``DATASET/PROTOCOL``.
        curves: Size first, then latency place by place.
        tree: Recipes from teacher to artifact.
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
        return any(verdict.violations for verdict in self.verdicts)


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
        column: Quality that the curves are about; None chooses the first column of which all
            artifacts have a score, and preferably their loss against the teacher.
        conditions: That fail a report.

    Raises:
        UsageError: An unknown column, or nothing is scored.
        ImageError, ReferenceSetError: A picture of the set cannot be read.
    """
    chosen = _choose_column(results, column)
    curves = _curves(results, chosen)
    scored = [entry for entry in results.entries if chosen in entry.columns]
    floats = [entry for entry in scored if entry.card.precision in ("fp32", "fp16")]
    at_hand = [entry for entry in floats if entry.path]
    student = max(at_hand or floats or scored, key=lambda entry: entry.columns[chosen].psnr)
    return Evidence(
        results=results,
        column=chosen,
        curves=curves,
        tree=recipe_tree(results.entries),
        gallery=make_gallery(results, reference, student),
        verdicts=tuple(
            Verdict(each, tuple(each.violations(results.entries, chosen))) for each in conditions
        ),
    )


def recipe_tree(entries: Sequence[Entry]) -> tuple[Branch, ...]:
    """Return the recipes of artifacts as trees: what they share is one branch."""
    by_teacher: dict[str, list[Entry]] = {}
    for entry in entries:
        teacher = entry.card.teacher
        label = f"teacher {teacher.name}" if teacher and teacher.taught else "without a teacher"
        by_teacher.setdefault(label, []).append(entry)
    return tuple(_branch(label, members, 0) for label, members in by_teacher.items())


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

    def known_of_all(name: str, part: str) -> bool:
        found = [entry.columns.get(name) for entry in results.entries]
        return all(each is not None and getattr(each, part) is not None for each in found)

    with_loss = [name for name in known if known_of_all(name, "loss_db")]
    scored = [name for name in known if known_of_all(name, "psnr")]
    return (with_loss or scored or list(known))[0]


def _curves(results: Results, column: str) -> tuple[Curve, ...]:
    level = _teacher_level(results, column)
    scored = [entry for entry in results.entries if column in entry.columns]
    labels = _labels(scored)

    def point(entry: Entry, cost: float) -> Point:
        quality, card = entry.columns[column].psnr, entry.card
        # To hundredths of a dB, as the tables show it: less is no reason to pay more.
        return Point(labels[entry.file], cost, round(quality, 2), card.precision, card.format)

    sizes = tuple(point(entry, entry.kilobytes) for entry in scored)
    curves = [Curve("size", "Size against quality", "kB", "", sizes, level)]
    by_place: dict[str, list[tuple[Entry, Measured]]] = {}
    for entry in scored:
        for found in entry.measured:
            by_place.setdefault(found.place, []).append((entry, found))
    for number, (place, measured) in enumerate(by_place.items(), start=1):
        times = tuple(point(entry, m.report.latency.median_ms) for entry, m in measured)
        title = f"Latency on {measured[0][1].machine.cpu}"
        curves.append(Curve(f"latency-{number}", title, "ms", place, times, level))
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
    names = results.teacher_names
    if column.startswith(f"{REFERENCE}/") and results.reference:
        names = (results.reference.teacher,)
    return (f"teacher {names[0]}" if len(names) == 1 else "teacher", known[0])


def _branch(label: str, entries: Sequence[Entry], depth: int) -> Branch:
    finished = [entry for entry in entries if len(entry.card.recipe) == depth]
    following: dict[str, list[Entry]] = {}
    for entry in entries:
        if len(entry.card.recipe) > depth:
            following.setdefault(entry.card.recipe[depth], []).append(entry)
    branches = [_branch(step, members, depth + 1) for step, members in following.items()]
    return Branch(label, tuple(branches), tuple(finished))
