"""How much a video flickers where nothing moves, and how sharp it stays where something does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import MetricError
from edge_runtime.metrics import luma

SIGMA = 4.0
"""Standard deviation in pixels of the blur under which motion is looked for."""
THRESHOLD = 1.5
"""Change of the blurred luma from one frame to the next above which something moved."""
REACH = 4
"""Pixels around motion that count as moving too."""


@dataclass(frozen=True)
class Flicker:
    """The flicker of a video.

    Attributes:
        flicker: Mean absolute change of luma from a frame to the next over all static pixels, in
            8-bit steps; 0 is still, NaN where no pixel is static.
        static_share: Share of static pixels, in [0, 1].
        moving_sharpness: Mean gradient magnitude of luma over all moving pixels, in 8-bit steps a
            pixel; NaN where no pixel moves. Blurred motion lowers it.
    """

    flicker: float
    static_share: float
    moving_sharpness: float


def measure_flicker(
    frames: Iterable[NDArray[np.uint8]], reference: Iterable[NDArray[np.uint8]] | None = None
) -> Flicker:
    """Measure a video; frames are taken one at a time.

    A pixel is static in a frame if the luma of ``reference``, blurred by ``SIGMA``, changed by at
    most ``THRESHOLD`` since the frame before, there and everywhere within ``REACH`` pixels. Videos
    are comparable only with one reference: the same pixels then count in all of them.

    Args:
        frames: HWC uint8 RGB in 0..255, all of one shape, at least two.
        reference: As many frames of the same scene, which say where it is static; None takes
            ``frames``.

    Raises:
        MetricError: Fewer than two frames, other shapes or dtypes, or counts that differ.
    """
    change = gradient = 0.0
    static_count = moving_count = 0
    before: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    for plane, guide in _lumas(frames, reference):
        blurred = np.asarray(cv2.GaussianBlur(guide, (0, 0), SIGMA), dtype=np.float64)
        if before is not None:
            if before[0].shape != plane.shape:
                raise MetricError(
                    f"frames must have one shape, got {before[0].shape} and {plane.shape}"
                )
            static = _static(blurred, before[1])
            change += float(np.abs(plane - before[0])[static].sum())
            gradient += float(_gradient(plane)[~static].sum())
            static_count += int(static.sum())
            moving_count += int((~static).sum())
        before = plane, blurred
    if not static_count + moving_count:
        raise MetricError("flicker needs at least two frames; take a longer video")
    return Flicker(
        change / static_count if static_count else math.nan,
        static_count / (static_count + moving_count),
        gradient / moving_count if moving_count else math.nan,
    )


def _lumas(
    frames: Iterable[NDArray[np.uint8]], reference: Iterable[NDArray[np.uint8]] | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the luma of each frame with that of its reference, of one shape."""
    if reference is None:
        for frame in frames:
            plane = luma(frame)
            yield plane, plane
        return
    try:
        for frame, guide in zip(frames, reference, strict=True):
            if frame.shape != guide.shape:
                raise MetricError(
                    f"a frame and its reference must have one shape, got {frame.shape} and "
                    f"{guide.shape}; resize one"
                )
            yield luma(frame), luma(guide)
    except ValueError as error:
        if isinstance(error, MetricError):
            raise
        raise MetricError("frames and reference differ in number; cut one to the other") from None


def _static(blurred: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.bool_]:
    moved = (np.abs(blurred - before) > THRESHOLD).astype(np.uint8)
    side = 2 * REACH + 1
    return np.asarray(cv2.dilate(moved, np.ones((side, side), np.uint8)) == 0)


def _gradient(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    across = cv2.Sobel(plane, cv2.CV_64F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(plane, cv2.CV_64F, 0, 1, scale=1 / 8)
    return np.asarray(np.hypot(across, down))
