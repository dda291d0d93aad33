"""Sessions of an artifact that is one stage of a recurrent network, run as often as it pays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from edge_runtime.engines.base import Batch, Engine, Stages
from edge_runtime.errors import UsageError
from edge_runtime.models.card import StageStep

CHANGED_LEVELS = 1.0
"""What counts as a change of a value between two stages, in levels of 8 bits."""
CHANGED_SHARE = 0.001
"""``auto`` stops after a stage that changes no more than this share of all values."""

_counts: ContextVar[list[int] | None] = ContextVar("stage counts", default=None)


SIGNATURE = (4, 3)
"""How many inputs and outputs an artifact of one stage has."""


class StagedSession:
    """A session whose every run is a number of runs of a stage.

    The states belong to one run, so every tile of a picture starts anew, as the picture itself
    would. ``auto`` decides for each tile: where rain is left in one part of the picture only, the
    others are done sooner.

    Args:
        engine: Runs an artifact with the inputs rainy, x, h, c and the outputs x, h, c.
        step: What its card says of it.
        artifact: Named in errors.
        stages: From 1 to as many as the network was trained with, for whose sake its halo is
            large enough; None takes all; ``'auto'`` stops when the picture no longer changes.

    Raises:
        UsageError: A number of stages that the network was not trained with.
    """

    def __init__(
        self, engine: Engine, step: StageStep, artifact: Path, stages: Stages | None = None
    ) -> None:
        most = step.stages if stages in (None, "auto") else stages
        if not isinstance(most, int) or not 1 <= most <= step.stages:
            raise UsageError(
                f"stages {stages}: {artifact.name} was trained with {step.stages}; take 1 to "
                f"{step.stages}, or auto"
            )
        self.name, self.provider = engine.name, engine.provider
        self._engine = engine
        self._step = step
        self._most = most
        self._until_still = stages == "auto"

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        count, _, height, width = batch.shape
        scale = self._step.state_scale
        state = (count, self._step.state_width, height // scale, width // scale)
        x, hidden, cell = batch, np.zeros(state, np.float32), np.zeros(state, np.float32)
        done, still = 0, False
        while done < self._most and not still:
            done, before = done + 1, x
            tensors, shapes = [batch, x, hidden, cell], [batch.shape, state, state]
            x, hidden, cell = self._engine.call(tensors, shapes)
            still = self._until_still and _is_still(before, x)
        counts = _counts.get()
        if counts is not None:
            counts.append(done)
        return np.clip(x, 0, 1)


@contextlib.contextmanager
def counted_stages() -> Iterator[list[int]]:
    """Give a list that fills with the stages of every run in this block, on this thread.

    It stays empty where a model has no stages; a picture in tiles has one number a tile.
    """
    counts: list[int] = []
    token = _counts.set(counts)
    try:
        yield counts
    finally:
        _counts.reset(token)


def _is_still(before: Batch, after: Batch) -> bool:
    """Return whether too few values changed by too little for an eye to see."""
    change = np.abs(np.clip(after, 0, 1) - np.clip(before, 0, 1)) * 255
    return float(np.mean(change >= CHANGED_LEVELS)) <= CHANGED_SHARE
