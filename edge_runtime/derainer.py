"""The public class: a model, opened, that removes rain from arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.card import ModelCard, load_card
from edge_runtime.errors import ImageError
from edge_runtime.models import DEFAULT_MODEL, find_model
from edge_runtime.session import ClosedSession, Session, open_session
from edge_runtime.tiles import plan_tiles

_PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
WHOLE_PIXELS = 1_500_000
"""Pictures up to this size are derained in one piece unless told otherwise."""
TILE_SIDE = 1024
"""Height and width in pixels of the tiles of larger ones, without their halo."""


class Derainer:
    """Removes rain from pictures with one opened model.

        >>> with Derainer.load() as derainer:
        ...     derained = derainer(rainy)

    One instance serves any number of threads at once: a call keeps all that it works on to
    itself, and the engine allows runs side by side. They share its threads, so this overlaps
    other work with the engine's rather than making the engine faster.

    Args:
        session: The engine that runs the model.
        card: What the model needs.
        model_path: Where the model lies.
        tile: Side of the tiles in pixels; 0 takes pictures whole. None takes pictures of up to
            ``WHOLE_PIXELS`` whole and tiles larger ones, so that memory stays bounded, if the
            card says that tiles give the same result.
    """

    def __init__(
        self, session: Session, card: ModelCard, model_path: Path, tile: int | None = None
    ) -> None:
        self.session = session
        self.card = card
        self.model_path = model_path
        self.tile = tile

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        threads: int | None = None,
        tile: int | None = None,
    ) -> Derainer:
        """Open a shipped model by name, or any model by path, after checking it against its card.

        Args:
            model: Name such as ``'small'`` or ``'small_fp32'``, or path of an ``.onnx`` file.
            threads: Threads that share one picture; None takes the physical cores.
            tile: Side of the tiles in pixels, 0 for whole pictures, None to choose by size.

        Raises:
            ModelNotFoundError: Nothing answers to ``model``.
            CardError: The card is missing, malformed, or not that of this file.
            MissingExtraError: The engine is not installed.
            SessionError: The engine cannot open the model.
        """
        path = find_model(model)
        card = load_card(path)
        return cls(open_session(path, card, threads), card, path, tile)

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """Derain one picture.

        Args:
            image: HWC RGB, or HW grey, which is derained as three equal channels that are
                averaged afterwards. uint8 in 0..255, uint16 in 0..65535 or float32 in [0, 1].
                Any height and width from 1 pixel: the picture is extended by repeating its
                bottom row and right column to a size that the model takes, and cropped again.

        Returns:
            A new array of the same shape, dtype and range. Integers are rounded half up.

        Raises:
            ImageError: Wrong shape or dtype, or float32 values outside [0, 1].
            SessionError: The engine failed.
            UsageError: ``tile`` is negative.
        """
        _check_image(image)
        height, width = image.shape[:2]
        side = self._tile_side(height * width) if self.tile is None else self.tile
        derained = np.empty(image.shape, image.dtype)
        for tile in plan_tiles(height, width, side, self.card.halo, self.card.size_multiple):
            derained[tile.target] = self._derain(image[tile.window])[tile.inner]
        return derained

    def frames(
        self, frames: Iterable[NDArray[Any]], *, steady: bool = False
    ) -> Iterator[NDArray[Any]]:
        """Derain frames of a video or stream, in turn, as they are asked for.

        Args:
            frames: Pictures as ``__call__`` takes them; none is read ahead.
            steady: Reduce flicker where nothing moves; see ``Steadier``.

        Yields:
            One derained frame for each, of the same shape, dtype and range.

        Raises:
            ImageError, SessionError: As ``__call__``, when the frame's turn comes.
        """
        from edge_runtime.steady import Steadier

        steadier = Steadier() if steady else None
        for frame in frames:
            derained = self(frame)
            yield derained if steadier is None else steadier(derained)

    def close(self) -> None:
        """Free the engine, when no call is under way. Later calls raise SessionError."""
        self.session = ClosedSession(self.session, self.model_path)

    def __enter__(self) -> Derainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tile_side(self, pixels: int) -> int:
        return TILE_SIDE if pixels > WHOLE_PIXELS and self.card.tiling_exact else 0

    def _derain(self, image: NDArray[Any]) -> NDArray[Any]:
        """Derain a picture or a window of one in a single run of the engine."""
        height, width = image.shape[:2]
        result = self.session.run(self._to_batch(image))[0, :, :height, :width]
        if image.ndim == 2:
            return _from_unit(result.mean(axis=0), image.dtype)
        return _from_unit(result.transpose(1, 2, 0), image.dtype)

    def _to_batch(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return ``image`` as float32 1CHW in [0, 1], extended to a legal size."""
        height, width = image.shape[:2]
        multiple = self.card.size_multiple
        bottom, right = -height % multiple, -width % multiple
        channels = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        unit = channels.astype(np.float32) / np.float32(_PEAKS[image.dtype])
        padded = np.pad(unit, ((0, 0), (0, bottom), (0, right)), mode="edge")
        return np.ascontiguousarray(np.broadcast_to(padded, (3, *padded.shape[1:]))[None])


def _from_unit(unit: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in [0, 1] in the range of ``dtype``; stray values are clipped."""
    values: NDArray[np.float32] = np.clip(unit, 0, 1) * np.float32(_PEAKS[dtype])
    return values if dtype == np.float32 else np.floor(values + np.float32(0.5)).astype(dtype)


def _check_image(image: Any) -> None:
    if not isinstance(image, np.ndarray) or image.dtype not in _PEAKS:
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"image must be a uint8, uint16 or float32 array, got {found}; convert it")
    grey = image.ndim == 2
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or image.size == 0:
        raise ImageError(
            f"image must be HWC RGB with 3 channels or HW grey, got shape {image.shape}; "
            "strip alpha and put channels last"
        )
    if image.dtype == np.float32:
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):
            raise ImageError(
                f"float32 image must lie in [0, 1], got {low:g} to {high:g}; divide by its peak"
            )
