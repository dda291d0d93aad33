"""Scores of the checkpoints of a recipe, and of their teacher once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from compress.checkpoint_card import checkpoint_card, teacher_loss
from compress.recipe.recipe import Recipe
from compress.recipe.records import digest
from core.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from core.evaluation.evaluate import evaluate
from core.inference import derainer_of
from edge_runtime.errors import CardError
from edge_runtime.models.card import ModelCard, QualityRow, write_card
from edge_runtime.models.records import to_plain


class Scorer:
    """Writes the cards of a recipe's checkpoints.

    Args:
        recipe: says the data sets and the teacher.
        work: folder in which the scores of the teacher are kept.
        progress: show bars on standard error.
    """

    def __init__(self, recipe: Recipe, work: Path, progress: bool) -> None:
        self._recipe, self._work, self._progress = recipe, work, progress

    def card(self, path: Path, checkpoint: Checkpoint) -> ModelCard:
        """Score the checkpoint in ``path`` and write its card beside it.

        Raises:
            DataError: a data set that is missing or has a wrong pair.
            CardError: the card cannot be written.
        """
        quality = self._score(checkpoint)
        teacher = self.teacher()
        loss = None
        if teacher is not None and teacher.sha256 is not None:
            name, sha256, theirs = teacher.name, teacher.sha256, teacher.quality
            loss = teacher_loss(name, sha256, theirs, quality, checkpoint.recipe)
        return write_card(path, checkpoint_card(checkpoint, quality, loss))

    def teacher(self) -> ModelCard | None:
        """Return the card of the recipe's teacher, scored on its data sets; None without one.

        Raises:
            CheckpointError, DataError, CardError: as :meth:`card`.
        """
        if not self._recipe.teacher:
            return None
        path = find_checkpoint(self._recipe.teacher)
        sha256 = digest(path)
        key = json.dumps([sha256, to_plain(self._recipe.judge.sets)], sort_keys=True)
        kept = self._work / f"teacher-{hashlib.sha256(key.encode()).hexdigest()[:8]}.json"
        try:
            return ModelCard.from_json(kept.read_text(encoding="utf-8"), kept)
        except (OSError, CardError):
            pass
        checkpoint = load_checkpoint(path)
        return write_card(path, checkpoint_card(checkpoint, self._score(checkpoint)), kept)

    def _score(self, checkpoint: Checkpoint) -> tuple[QualityRow, ...]:
        return evaluate(derainer_of(checkpoint), self._recipe.judge, self._progress)
