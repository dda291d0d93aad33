"""Run an artifact that takes pictures of one size only on pictures of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_runtime.engines.session import Batch, Session
from edge_runtime.errors import SessionError
from edge_runtime.models.card import ModelCard


class FixedSizeSession:
    """A session that cuts what it is given into windows of the one size that an engine takes.

    Windows overlap by the halo of the card and lie inside the picture, so that the result is that
    of the whole picture where the card says that tiles are exact. Smaller pictures are extended by
    repeating their bottom row and right column.

    Args:
        session: Takes one picture of ``size`` at a time.
        size: (height, width) in pixels.
        card: What the model needs.
        artifact: Named in errors.

    Raises:
        SessionError: The halo leaves nothing of a window of this size.
    """

    def __init__(
        self, session: Session, size: tuple[int, int], card: ModelCard, artifact: Path
    ) -> None:
        steps = [(side - 2 * card.halo) // card.size_multiple * card.size_multiple for side in size]
        if min(steps) < 1:
            raise SessionError(
                f"{artifact}: takes {size[0]}x{size[1]} pixels only, which its halo of {card.halo} "
                f"leaves nothing of; export it with a --size above {2 * card.halo}, or without"
            )
        self.name = session.name
        self.provider = session.provider
        self.size = size
        self._session = session
        self._steps = steps
        self._halo = card.halo

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        height, width = batch.shape[2:]
        missing = [max(0, side - own) for side, own in zip(self.size, (height, width), strict=True)]
        padded = np.pad(batch, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
        derained = np.empty_like(padded)
        for rows, kept_rows in self._windows(padded.shape[2], 0):
            for columns, kept_columns in self._windows(padded.shape[3], 1):
                for picture, result in zip(padded, derained, strict=True):
                    window = np.ascontiguousarray(picture[None, :, rows, columns])
                    top, left = kept_rows.start - rows.start, kept_columns.start - columns.start
                    inner = self._session.run(window)[0, :, top:, left:]
                    part = result[:, kept_rows, kept_columns]
                    part[:] = inner[:, : part.shape[1], : part.shape[2]]
        return np.ascontiguousarray(derained[:, :, :height, :width])

    def _windows(self, length: int, axis: int) -> Iterator[tuple[slice, slice]]:
        """Yield the windows along an axis, and the part of each whose result is right."""
        side, step = self.size[axis], self._steps[axis]
        last = length - side
        for start in [*range(0, last, step), last]:
            first = start if start == 0 else start + self._halo
            end = length if start == last else start + side - self._halo
            yield slice(start, start + side), slice(first, end)
