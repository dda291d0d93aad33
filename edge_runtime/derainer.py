"""The public class: a model, opened, that removes rain from arrays."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines.base import ClosedSession, Engine, Session, Stages
from edge_runtime.errors import ImageError, SessionError, UsageError
from edge_runtime.gate import THRESHOLD, VideoGate, check_threshold
from edge_runtime.models.card import ModelCard, load_card
from edge_runtime.models.catalog import DEFAULT_MODEL, fastest_provider, find_model
from edge_runtime.pyramid import SCALES, Change, Derained, Scale, by_passes, mix
from edge_runtime.tiles import (
    PEAKS,
    Tile,
    extended,
    from_planes,
    least_work,
    plan_tiles,
    to_batch,
)

WINDOW_PIXELS = 1_500_000
"""What is derained in one piece unless told otherwise: pictures up to this size, and the tiles of
larger ones with their halo."""
SHRUNK_WINDOW_PIXELS = 1_000_000
"""The same for a shrunk picture, because the one at full size is held beside it."""
_WINDOW_SHARE = 16
"""One in so many pixels of a huge picture may be in a window. Its memory is then about that of
the rainy and the derained picture."""


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
        tile: Side of the tiles in pixels; 0 takes pictures whole. None takes small pictures
            whole and tiles larger ones, so that memory stays bounded, if the card says that
            tiles give the same result.
        window_pixels: What is derained in one piece where ``tile`` is None. None takes
            ``WINDOW_PIXELS``, or a 16th of the picture where that is more.
        scale: At what size rain is looked for: 1 is the full one, 2, 4, 8 or 16 a fraction of it,
            for pictures whose streaks are larger than those the network learned from; see
            ``edge_runtime.pyramid``. ``'auto'`` follows the size of the picture.
        threshold: Rain score below which a picture is left alone, to the last bit, from 0 (all
            are derained) to 1; None does not ask. A little above it rain is taken out in part:
            see ``edge_runtime.gate``.
        ensemble: Take the mean of what the network makes of the picture and of its mirror image,
            turned back: better, and twice the time (the self-ensemble of EDSR, Lim et al., CVPRW
            2017, section 3.4, with the one view under which rain still falls).

    Attributes:
        fixed_size: The one (height, width) that the engine takes; None if it takes any. Pictures
            are then cut into windows of that size, whatever ``tile`` says.

    Raises:
        UsageError: There is no such scale, or the threshold is not within [0, 1].
        SessionError: The halo leaves nothing of a window of the one size that the engine takes.
    """

    def __init__(
        self,
        session: Session,
        card: ModelCard,
        model_path: Path,
        tile: int | None = None,
        window_pixels: int | None = None,
        scale: Scale = "auto",
        ensemble: bool = False,
        threshold: float | None = None,
    ) -> None:
        if scale != "auto" and scale not in SCALES:
            raise UsageError(f"scale {scale}: must be {', '.join(map(str, SCALES))} or 'auto'")
        self.fixed_size: tuple[int, int] | None = getattr(session, "fixed_size", None)
        if self.fixed_size and min(self.fixed_size) < 2 * card.halo + card.size_multiple:
            height, width = self.fixed_size
            raise SessionError(
                f"{model_path}: takes {height}x{width} pixels only, which its halo of {card.halo} "
                f"leaves nothing of; export it with a --size above {2 * card.halo}, or without"
            )
        self.session = session
        self.card = card
        self.model_path = model_path
        self.tile = tile
        self.window_pixels = window_pixels
        self.scale: Scale = scale
        self.ensemble = ensemble
        self.threshold = None if threshold is None else check_threshold(threshold)
        self._spare: list[NDArray[np.float32]] = []

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        tile: int | None = None,
        stages: Stages | None = None,
        scale: Scale = "auto",
        ensemble: bool = False,
        threshold: float | None = THRESHOLD,
    ) -> Derainer:
        """Open a shipped model by name, or any model by path, after checking it against its card.

        Args:
            model: Name such as ``'small'`` or ``'small_fp32'``, or path of an ``.onnx`` or
                ``.tflite`` file.
            backend: ``'onnx'``, ``'tflite'``, or ``'auto'``; see ``find_model`` for what it takes.
            precision: ``'fp32'``, ``'fp16'``, ``'int8'``, ``'dynamic'``, or ``'auto'``, likewise.
            threads: Threads that share one picture; None takes the physical cores.
            tile: Side of the tiles in pixels, 0 for whole pictures, None to choose by size.
            stages: Of a model that is one stage of a recurrent network: how many, up to what it
                was trained with, or ``'auto'`` to stop when the picture no longer changes; see
                ``StagedSession``. None takes all.
            scale: At what size rain is looked for, as the class takes it.
            ensemble: Whether the mirror image is derained as well, as the class takes it.
            threshold: Rain score below which a picture is left alone, as the class takes it.

        Raises:
            ModelNotFoundError: Nothing answers to ``model`` with this backend and precision.
            UsageError: There is no such backend, precision or scale, or the model has no such
                stages.
            CardError: The card is missing, malformed, or not that of this file.
            MissingExtraError: The engine is not installed.
            SessionError: The engine cannot open the model.
        """
        path = find_model(model, backend=backend, precision=precision)
        card = load_card(path)
        session = open_session(path, card, threads, fastest_provider(card), stages)
        return cls(session, card, path, tile, scale=scale, ensemble=ensemble, threshold=threshold)

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
        return self.derain(image).image

    def derain(self, image: NDArray[Any]) -> Derained:
        """Derain one picture, and say how likely it is that it has rain.

        Args:
            image: As ``__call__`` takes it.

        Raises:
            ImageError, SessionError, UsageError: As ``__call__``.
        """
        _check_image(image)
        return by_passes(image, self.scale, self._at_one_size, self.threshold)

    def rain_score(self, image: NDArray[Any]) -> float:
        """Return how likely it is that a picture has rain, 0 to 1, whatever the threshold.

        Args:
            image: As ``__call__`` takes it.

        Raises:
            ImageError, SessionError, UsageError: As ``__call__``.
        """
        _check_image(image)
        rain = by_passes(image, self.scale, self._at_one_size, 0.0).rain
        assert rain is not None
        return rain

    def _at_one_size(
        self, image: NDArray[Any], change: Change | None, shrunk: bool
    ) -> NDArray[Any]:
        """Derain a picture in tiles, after the change that was found at half its size."""
        height, width = image.shape[:2]
        side = self._tile_side(height, width, shrunk) if self.tile is None else self.tile
        halo, multiple = self.card.halo, self.card.size_multiple
        tiles = plan_tiles(height, width, side, halo, multiple, self.fixed_size)
        derained = np.empty(image.shape, image.dtype)
        levels = self.card.io != "float32" and image.dtype == np.uint8 and image.ndim == 3
        try:
            memory = self._spare.pop()  # no other call has it now
        except IndexError:
            memory = None
        # Windows of one size in turn, largest first: engines lay their memory out anew for another.
        for tile in sorted(tiles, key=_size, reverse=True):
            window = image[tile.window]
            if change is not None:
                window = change.done_to(image, 2, tile.window)
            if levels and not self.ensemble:
                pixels = extended(window, self.fixed_size or multiple)[None]
                derained[tile.target] = self.session.run(pixels)[0][tile.inner]
                continue
            batch = to_batch(window, self.fixed_size or multiple, memory)
            if memory is None or memory.size < batch.size:
                memory = batch.reshape(-1)
            inner = (0, slice(None), *tile.inner)
            from_planes(self._run(batch)[inner], derained[tile.target])
        if memory is not None and not shrunk:  # beside a large picture there is no room for it
            self._spare.append(memory)
        return derained

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        derained = self.session.run(batch)
        if not self.ensemble:
            return derained
        mirrored = self.session.run(np.ascontiguousarray(batch[..., ::-1]))[..., ::-1]
        mean: NDArray[np.float32] = (derained + mirrored) / np.float32(2)
        return mean

    def frames(
        self, frames: Iterable[NDArray[Any]], *, steady: bool = False, rate: float = 25.0
    ) -> Iterator[NDArray[Any]]:
        """Derain frames of a video or stream, in turn, as they are asked for.

        Args:
            frames: Pictures as ``__call__`` takes them; none is read ahead.
            steady: Reduce flicker where nothing moves; see ``Steadier``.
            rate: Frames a second, so that the gate follows them over a second; see ``VideoGate``.

        Yields:
            One derained frame for each, of the same shape, dtype and range.

        Raises:
            ImageError, SessionError: As ``__call__``, when the frame's turn comes.
            UsageError: ``rate`` is not above 0.
        """
        if not rate > 0:
            raise UsageError(f"rate {rate}: must be above 0 frames a second")
        derain = InTurn(self, steady=steady)
        for number, frame in enumerate(frames):
            yield derain(frame, number / rate)

    def with_session(self, session: Session, window_pixels: int | None = None) -> Derainer:
        """Return another that is like this one but for its session, and shares its buffers.

        Args:
            session: What runs the model instead, such as one that wraps the session of this.
            window_pixels: As the class takes it; None leaves it as it is.
        """
        other = copy.copy(self)
        other.session = session
        other.window_pixels = window_pixels or self.window_pixels
        return other

    def close(self) -> None:
        """Free the engine, when no call is under way. Later calls raise SessionError."""
        self.session = ClosedSession(self.session, self.model_path)

    def __enter__(self) -> Derainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tile_side(self, height: int, width: int, shrunk: bool) -> int | tuple[int, int]:
        most = self.window_pixels or max(WINDOW_PIXELS, height * width // _WINDOW_SHARE)
        if shrunk:
            most = min(most, SHRUNK_WINDOW_PIXELS)
        if height * width <= most or not self.card.tiling_exact:
            return 0
        return least_work(height, width, most, self.card.halo, self.card.size_multiple)


class InTurn:
    """Derains the frames of one video, in turn: what is taken out does not jump. Not for threads.

    Attributes:
        rain: Sum of the rain scores of the frames so far; 0 where nobody asks for them.
        frames: How many there were.

    Args:
        derainer: Whose threshold the scores of the frames are held to, over a second or so; see
            ``VideoGate``.
        steady: Reduce flicker where nothing moves; see ``Steadier``.
    """

    def __init__(self, derainer: Derainer, *, steady: bool = False) -> None:
        self.rain, self.frames = 0.0, 0
        self._derainer, self._gate, self._steadier = derainer, None, None
        if derainer.threshold is not None:
            self._gate = VideoGate(derainer.threshold)
            self._derainer = copy.copy(derainer)
            self._derainer.threshold = 0.0
        if steady:
            from edge_runtime.steady import Steadier

            self._steadier = Steadier()

    def __call__(self, frame: NDArray[Any], seconds: float) -> NDArray[Any]:
        """Derain the frame that is shown at a time, as ``Derainer`` does."""
        derained, rain, _ = self._derainer.derain(frame)
        self.frames += 1
        if self._gate is not None and rain is not None:
            self.rain += rain
            strength = self._gate(rain, seconds)
            if strength < 1:
                derained = mix(frame, derained, strength) if strength else frame.copy()
        return derained if self._steadier is None else self._steadier(derained)


def _size(tile: Tile) -> tuple[int, int]:
    """Return (pixels, height) of the window of a tile."""
    rows, columns = tile.window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return height * width, height


def _check_image(image: Any) -> None:
    if not isinstance(image, np.ndarray) or image.dtype not in PEAKS:
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


def open_session(
    artifact: Path,
    card: ModelCard,
    threads: int | None = None,
    provider: str | None = None,
    stages: Stages | None = None,
) -> Session:
    """Open ``artifact`` in the engine that its card calls for.

    Raises:
        UsageError: ``stages`` that the artifact does not have; see ``StagedSession``.
        MissingExtraError: The engine is not installed.
        SessionError: The engine cannot open the artifact, or no engine here reads its format.
    """
    if card.step is not None:
        from edge_runtime.engines.stages import SIGNATURE, StagedSession

        engine = _open_engine(artifact, card, threads, provider, SIGNATURE)
        return StagedSession(engine, card.step, artifact, stages)
    if stages is not None:
        raise UsageError(
            f"stages {stages}: {artifact.name} is a whole network; leave it out, or name an "
            "artifact of derain-export with --step"
        )
    return _open_engine(artifact, card, threads, provider)


def _open_engine(
    artifact: Path,
    card: ModelCard,
    threads: int | None,
    provider: str | None,
    signature: tuple[int, int] = (1, 1),
) -> Engine:
    if card.format == "onnx":
        from edge_runtime.engines.onnx_runtime import OnnxSession

        return OnnxSession(artifact, threads, provider, signature)
    if card.format == "tflite":
        from edge_runtime.engines.litert import TfliteSession

        return TfliteSession(artifact, threads, signature)
    raise SessionError(
        f"{artifact}: no engine here reads {card.format!r}; use an .onnx or .tflite model"
    )
