"""Scores of anything that derains, and its loss against a teacher on the same pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from compress.checkpoint_card import teacher_loss
from compress.teacher import TaughtPictures, Teacher
from core.evaluation.evaluate import (
    Derain,
    EvaluationConfig,
    PictureScore,
    evaluate,
    mean_rows,
    score_pairs,
)
from edge_runtime.metrics import IDENTICAL_DB, PROTOCOLS, psnr
from edge_runtime.models.card import QualityRow, TeacherLoss
from edge_runtime.terminal import markdown_table


class Scores(NamedTuple):
    """What goes into a card: quality, and the loss against a teacher where there is one."""

    quality: tuple[QualityRow, ...] = ()
    teacher: TeacherLoss | None = None


Score = Callable[[Derain, Sequence[str]], Scores]
"""Scores what derains, which the recipe made."""


def without_teacher(config: EvaluationConfig, progress: bool) -> Score:
    """Return what scores on the sets of ``config`` and nothing more."""
    return lambda derain, _: Scores(evaluate(derain, config, progress))


class AgainstTeacher:
    """Scores on data sets, and compares with what a teacher makes of the same pictures.

    The teacher derains every picture once, whatever the number of students: its results are kept
    as 8-bit pictures on disk, for other runs too.

    Args:
        teacher: the network to compare with.
        config: the data sets.
        folder: for the pictures of teachers; made where it is missing.
        progress: show bars on standard error.
    """

    def __init__(
        self, teacher: Teacher, config: EvaluationConfig, folder: Path, progress: bool
    ) -> None:
        self._teacher, self._config, self._progress = teacher, config, progress
        self._taught = TaughtPictures(teacher, folder)

    def __call__(self, derain: Derain, recipe: Sequence[str] = ()) -> Scores:
        """Score a student.

        Args:
            derain: takes and returns uint8 (H, W, 3) RGB.
            recipe: steps that made it; they say whether it learned from this teacher.

        Raises:
            DataError: a set that is missing or has a wrong pair, or the folder cannot be written.
        """
        theirs, scores = self._quality, list[PictureScore]()
        fidelity = defaultdict[tuple[str, str], list[float]](list)
        for scored in score_pairs(derain, self._config, self._progress):
            scores.append(scored.score)
            taught = self._taught(scored.rainy)
            for protocol in PROTOCOLS:
                alike = min(psnr(scored.derained, taught, protocol), IDENTICAL_DB)
                fidelity[scored.score.dataset, protocol].append(alike)
        ours = mean_rows(scores)
        means = {key: sum(values) / len(values) for key, values in fidelity.items()}
        name, sha256 = self._teacher.name, self._teacher.sha256
        return Scores(ours, teacher_loss(name, sha256, theirs, ours, recipe, means))

    @cached_property
    def _quality(self) -> tuple[QualityRow, ...]:
        return evaluate(self._taught, self._config, self._progress)


def loss_table(loss: TeacherLoss) -> str:
    """Lay out a loss as a Markdown table, under a line that says of which teacher."""
    how = "learned from" if loss.taught else "measured against, not learned from,"
    rows = [
        (
            row.dataset,
            row.protocol,
            f"{row.psnr_loss_db:.2f}",
            f"{row.ssim_loss:.4f}",
            "–" if row.fidelity_db is None else f"{row.fidelity_db:.2f}",
        )
        for row in loss.rows
    ]
    head = ("data set", "protocol", "PSNR loss dB", "SSIM loss", "fidelity dB")
    return f"{how} {loss.name} (sha256 {loss.sha256[:12]}):\n\n{markdown_table(head, rows, 2)}"
