"""Rows of text for plans and results of recipes, the headings first."""

from __future__ import annotations

from collections.abc import Sequence

from compress.recipe.pipeline import Outcome
from compress.recipe.plan import Planned
from compress.recipe.scores import mean_score, psnr_by_set
from edge_runtime.models.card import ModelCard

Row = tuple[str, ...]
_UNKNOWN = "-"


def plan_rows(plan: Sequence[Planned]) -> list[Row]:
    """Lay out a plan: what each step is, how it stands, and what its result costs."""
    rows: list[Row] = [
        ("step", "state", "optimizer steps", "took", "parameters", "kMAC/pixel", "ONNX kB")
    ]
    for planned in plan:
        rows.append(
            (
                planned.step.name,
                planned.state,
                f"{planned.step.steps:,}",
                _UNKNOWN if planned.seconds is None else duration(planned.seconds),
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


def duration(seconds: float) -> str:
    """Say a time in the largest unit that it has one of: ``5 s``, ``12 min``, ``1.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


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
