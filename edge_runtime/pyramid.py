"""Rain of large pictures: looked for at a fraction of the size, and taken out at the full one.

Networks learn from pictures of about 500 to 1000 pixels. In a photograph of 12 megapixels the same
streak is several times as long and wide, and they take it for part of the scene. So a large
picture is shrunk, derained, and what that changed is enlarged and added to it; then once more at
twice that size, for the finer streaks. Detail that the small picture does not have stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.gate import places, rain_score, strength_of
from edge_runtime.tiles import PEAKS, Rectangle

SCALES = (1, 2, 4, 8, 16)
Scale = int | Literal["auto"]
"""Rain is looked for at 1 / N of the size, and at 2 / N; 1 looks at full size only, ``'auto'``
follows the size."""
SHRUNK_SIDE = 900
"""Pixels that the longer side keeps at least where the scale follows the size."""
_MARGIN = 3  # pixels that cubic interpolation looks around, and one more
_ROWS = 64  # of the small picture that are made, or enlarged, at once


def passes(scale: Scale, height: int, width: int) -> tuple[int, ...]:
    """Return what to divide the size by, pass by pass, coarse to fine.

    Args:
        scale: 1, 2, 4, 8, 16 or ``'auto'``.
        height: of the picture in pixels; ``width`` likewise.
    """
    longer = max(height, width)
    fitting = [factor for factor in SCALES if factor == 1 or longer >= SHRUNK_SIDE * factor]
    factor = fitting[-1] if scale == "auto" else scale
    return (factor,) if factor == 1 else (factor, factor // 2)


def shrink(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return the means of squares of pixels; those at the bottom and right border repeat it.

    Args:
        image: HWC RGB or HW grey; uint8, uint16, or float32 in [0, 1].
        factor: Height and width of the squares.

    Returns:
        ceil(H / factor) x ceil(W / factor); float32 stays so, integers become uint16 in 0..65535,
        so that a difference of two is exact to a fraction of a level of 8 bits.
    """
    height, width = (-(-side // factor) for side in image.shape[:2])
    whole = image.dtype != np.float32
    small = np.empty((height, width, *image.shape[2:]), np.uint16 if whole else np.float32)
    gain = PEAKS[small.dtype] / PEAKS[image.dtype]
    for first in range(0, height, _ROWS):
        band = image[first * factor : (first + _ROWS) * factor]
        lower, right = -band.shape[0] % factor, -band.shape[1] % factor
        band = cv2.copyMakeBorder(band, 0, lower, 0, right, cv2.BORDER_REPLICATE)
        size = band.shape[1] // factor, band.shape[0] // factor
        # In float, because the mean of integers would be rounded to their levels.
        means = cv2.resize(band.astype(np.float32), size, interpolation=cv2.INTER_AREA) * gain
        small[first : first + _ROWS] = np.rint(means) if whole else means
    return small


class Change:
    """What deraining changed in a small picture, to be done to one that is larger.

    It is held with half of the memory that the two pictures take.

    Args:
        before: the small picture, as ``shrink`` returns it.
        after: the same, derained.
    """

    def __init__(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        whole = before.dtype != np.float32
        # Of 65535 levels, halves of the difference fit into 16 bits.
        self._unit = 2 / PEAKS[before.dtype] if whole else 1.0
        self._added = np.empty(before.shape, np.int16 if whole else np.float32)
        for first in range(0, before.shape[0], _ROWS):
            band = slice(first, first + _ROWS)
            added = after[band].astype(np.float32) - before[band]
            self._added[band] = np.rint(added / 2) if whole else added

    def done_to(self, image: NDArray[Any], factor: int, window: Rectangle) -> NDArray[Any]:
        """Return a window of ``image`` with the change enlarged and added.

        A window is that of the whole result, to the last bits of float32.

        Args:
            image: HWC RGB or HW grey of any dtype in ``PEAKS``; the small picture is ``factor``
                times smaller.
            factor: as for ``shrink``.
            window: rows and columns of ``image`` with start and stop.

        Returns:
            A new array of the window's shape and the image's dtype, clipped, integers rounded
            half up.
        """
        rows, columns = window
        changed = np.empty_like(image[window])
        for first in range(rows.start, rows.stop, _ROWS * factor):
            part = slice(first, min(first + _ROWS * factor, rows.stop))
            here = slice(first - rows.start, part.stop - rows.start)
            values = self._enlarged(factor, part, columns)
            values *= np.float32(PEAKS[image.dtype] * self._unit)
            values += image[part, columns]
            if image.dtype != np.float32:
                values += np.float32(0.5)
            changed[here] = np.clip(values, 0, PEAKS[image.dtype])
        return changed

    def _enlarged(self, factor: int, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return a window of the change at the larger size, in its own unit."""
        near = tuple(
            slice(max(0, span.start // factor - _MARGIN), -(-span.stop // factor) + _MARGIN)
            for span in (rows, columns)
        )
        change = self._added[near].astype(np.float32)
        large = cv2.resize(change, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        inner = tuple(
            slice(span.start - small.start * factor, span.stop - small.start * factor)
            for span, small in zip((rows, columns), near, strict=True)
        )
        return np.ascontiguousarray(large[inner], np.float32)


class Derained(NamedTuple):
    """A derained picture.

    Attributes:
        image: HWC RGB or HW grey, of the dtype and range of the picture that was given.
        rain: How likely it is that the picture has rain, 0 to 1; None where nobody asked.
        strength: How much of what the network found is taken out, 0 (nothing: the pixels are those
            that were given) to 1; of several passes, the most.
    """

    image: NDArray[Any]
    rain: float | None
    strength: float


def by_passes(
    image: NDArray[Any],
    scale: Scale,
    derain: Callable[[NDArray[Any], Change | None, bool], NDArray[Any]],
    threshold: float | None = None,
) -> Derained:
    """Derain a picture pass by pass, coarse to fine; one that finds no rain changes nothing.

    Args:
        image: HWC RGB or HW grey of any dtype in ``PEAKS``.
        scale: As for ``passes``.
        derain: Takes a picture, the change found at half its size, to be done to it first, and
            whether the picture is a shrunk one; returns it derained, as an array of its own.
        threshold: Of the gate, see ``strength_of``; None judges nothing and takes out everything.
    """
    change: Change | None = None
    scores, strengths = [0.0], [0.0]
    for factor in passes(scale, *image.shape[:2]):
        small = image if factor == 1 else shrink(image, factor)
        result = derain(small, change, factor > 1)
        if threshold is not None:
            squares = places(*small.shape[:2])
            before = [_before(small, change, each) for each in squares]
            scores.append(rain_score(before, [result[each] for each in squares]))
            strengths.append(strength_of(scores[-1], threshold))
            if strengths[-1] < 1:
                _weaken(result, small, change, strengths[-1])
        if factor > 1:
            change = Change(small, result) if any(strengths) or threshold is None else None
    if factor > 1:
        result = _before(image, change, everywhere(image), factor)
    if threshold is None:
        return Derained(result, None, 1.0)
    return Derained(result, max(scores), max(strengths))


def everywhere(image: NDArray[Any]) -> Rectangle:
    """Return the window that is all of ``image``."""
    return slice(0, image.shape[0]), slice(0, image.shape[1])


def _before(
    image: NDArray[Any], change: Change | None, window: Rectangle, factor: int = 2
) -> NDArray[Any]:
    """Return a window of what a pass begins with."""
    return image[window].copy() if change is None else change.done_to(image, factor, window)


def _weaken(
    result: NDArray[Any], image: NDArray[Any], change: Change | None, strength: float
) -> None:
    """Bring ``result`` nearer to what its pass began with, in place."""
    for first in range(0, image.shape[0], _ROWS):
        band = slice(first, min(first + _ROWS, image.shape[0])), slice(0, image.shape[1])
        mixed = _before(image, change, band)
        if strength:
            mixed = mix(mixed, result[band], strength)
        result[band] = mixed


def mix(before: NDArray[Any], after: NDArray[Any], strength: float) -> NDArray[Any]:
    """Return ``before`` and a share of what changed; integers are rounded half up."""
    mixed = before + (after.astype(np.float32) - before) * np.float32(strength)
    if before.dtype != np.float32:
        mixed = np.floor(mixed + np.float32(0.5))
    return np.asarray(mixed, before.dtype)
