"""The score that checkpoints are chosen by: one number out of all validation sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from core.evaluation.evaluate import TestSetConfig
from edge_runtime.models.card import QualityRow

GAIN_CAP_DB = 10.0
"""What one rainy set can bring at most, so that an easy one does not hide the others."""
DRY_ENOUGH_DB = 50.0
"""PSNR from which nobody sees that a dry picture was derained."""
DRY_PENALTY = 0.1
"""Decibels of the score for each decibel that dry pictures lie below that."""


class Means(NamedTuple):
    """Mean rgb PSNR in dB of a set, before and after deraining."""

    before: float
    after: float


def validation_score(means: Mapping[str, Means], sets: Mapping[str, TestSetConfig]) -> float:
    """Weigh what deraining gains on rainy sets against what it costs dry ones.

    The mean of ``min(after - before, 10)`` over the rainy sets, each as often as its ``weight``
    says, minus a tenth of the mean of ``max(50 - after, 0)`` over the dry ones, likewise.

    Args:
        means: by the name of the set.
        sets: at least those of ``means``.

    Returns:
        dB; 0 is a network that does nothing.
    """
    rainy = {name: each for name, each in means.items() if not sets[name].dry}
    gains = {name: min(each.after - each.before, GAIN_CAP_DB) for name, each in rainy.items()}
    missing = {
        name: max(DRY_ENOUGH_DB - each.after, 0.0) for name, each in means.items() if sets[name].dry
    }
    return _mean(gains, sets) - DRY_PENALTY * _mean(missing, sets)


def row_means(rows: Iterable[QualityRow]) -> dict[str, Means]:
    """Take the means of each data set out of a quality table."""
    return {row.dataset: Means(row.input_psnr, row.psnr) for row in rows if row.protocol == "rgb"}


def _mean(values: Mapping[str, float], sets: Mapping[str, TestSetConfig]) -> float:
    weight = sum(sets[name].weight for name in values)
    return sum(sets[name].weight * value for name, value in values.items()) / (weight or 1.0)
