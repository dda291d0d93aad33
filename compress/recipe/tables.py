"""Plans and results of recipes as rows of text, the headings first."""

from __future__ import annotations

from collections.abc import Sequence

from compress.recipe.pipeline import Outcome
from compress.recipe.plan import Plan
from compress.recipe.scores import mean_score, psnr_by_set
from compress.search.candidates import Candidate
from compress.search.search import Found, Search, pareto
from edge_runtime.models.card import ModelCard

Row = tuple[str, ...]
_UNKNOWN = "-"


def plan_rows(plan: Plan) -> list[Row]:
    """Lay out a plan: what each step is, how it stands, and what it will cost."""
    rows: list[Row] = [
        ("step", "state", "optimizer steps", "training", "parameters", "kMAC/pixel", "ONNX kB")
    ]
    for planned in plan.steps:
        rows.append(
            (
                planned.step.name,
                planned.state,
                f"{planned.step.steps:,}",
                duration(planned.seconds),
                f"{planned.parameters:,}",
                f"{planned.macs_per_pixel / 1000:.3f}",
                f"{planned.bytes / 1000:.1f}",
            )
        )
    return rows


def outcome_rows(outcome: Outcome) -> list[Row]:
    """Lay out what each step reached, rgb PSNR in dB, and what it cost; the teacher first."""
    cards = [done.card for done in outcome.finished]
    sets = list(psnr_by_set(cards[0].quality))
    rows: list[Row] = [
        ("", *sets, "score", "to teacher", "parameters", "kMAC/pixel", "optimizer steps", "time")
    ]
    if outcome.teacher:
        rows.append(_reached("teacher", outcome.teacher, sets, None, None))
    for done in outcome.finished:
        taken = (f"{done.steps:,}", duration(done.seconds))
        rows.append(_reached(done.step.name, done.card, sets, outcome.teacher, taken))
    return rows


def speed_line(plan: Plan) -> str:
    """Say how long the training that is left will take, and how that is known."""
    how = (
        "at the speed of the steps done"
        if plan.measured
        else "at the speed of a few steps timed now"
    )
    return f"training that is left: {duration(plan.seconds)}, {how}"


def duration(seconds: float) -> str:
    """Say a time in the largest unit that it has one of: ``5 s``, ``12 min``, ``1.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def candidate_rows(candidates: Sequence[Candidate]) -> list[Row]:
    """Lay out candidates and the most that each may cost."""
    rows: list[Row] = [
        ("candidate", "precision", "parameters at most", "kMAC/pixel at most", "ONNX kB at most")
    ]
    for each in candidates:
        cost = (f"{each.parameters:,}", f"{each.macs / 1000:.3f}", f"{each.bytes / 1000:.1f}")
        rows.append((each.pruned, each.precision, *cost))
    return rows


def rung_lines(search: Search) -> list[str]:
    """Say how many candidates each round has, how long it trains, and how long that takes."""
    lines = [
        f"round {number}: {rung.candidates} candidates, {rung.steps} steps"
        for number, rung in enumerate(search.rungs, 1)
    ]
    seconds = search.training_macs() / search.training_speed()
    return [
        *lines,
        f"training at most {duration(seconds)} at the speed of a few steps timed now, and scoring",
    ]


def tried_rows(found: Found) -> list[Row]:
    """Lay out what each candidate came to, the chosen one and those of the Pareto front marked."""
    front = pareto(found.tried)
    rows: list[Row] = [
        (
            "",
            "candidate",
            "precision",
            "round",
            "score",
            "drop",
            "parameters",
            "kMAC/pixel",
            "ONNX kB",
        )
    ]
    best = {
        each.round: max(t.score for t in found.tried if t.round == each.round)
        for each in found.tried
    }
    for each in found.tried:
        mark = (
            "chosen" if each == found.chosen else "pareto" if each.candidate.name in front else ""
        )
        rows.append(
            (
                mark,
                each.candidate.pruned,
                each.candidate.precision,
                str(each.round),
                f"{each.score:.2f}",
                f"{best[each.round] - each.score:.2f}",
                f"{each.parameters:,}",
                f"{each.macs / 1000:.3f}",
                f"{each.bytes / 1000:.1f}",
            )
        )
    return rows


def _reached(
    name: str,
    card: ModelCard,
    sets: Sequence[str],
    teacher: ModelCard | None,
    taken: tuple[str, str] | None,
) -> Row:
    psnr, score = psnr_by_set(card.quality), mean_score(card.quality)
    loss = f"{score - mean_score(teacher.quality):+.2f}" if teacher else _UNKNOWN
    return (
        name,
        *(f"{psnr[each]:.2f}" for each in sets),
        f"{score:.2f}",
        loss,
        f"{card.parameters:,}",
        f"{card.macs_per_pixel / 1000:.3f}",
        *(taken or (_UNKNOWN, _UNKNOWN)),
    )
