"""Tiles: overlapping windows of a picture, and their pixels as networks take and give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import UsageError

Rectangle = tuple[slice, slice]
_Span = tuple[slice, slice, slice]  # window, target and inner, along one axis
_MOST_TILES = 256  # along one axis, of those that are compared


@dataclass(frozen=True)
class Tile:
    """One tile, as slices of rows and columns.

    Attributes:
        window: what the network sees, in the picture.
        target: what the tile contributes, in the picture.
        inner: the same pixels, in the window.
    """

    window: Rectangle
    target: Rectangle
    inner: Rectangle


def plan_tiles(
    height: int,
    width: int,
    side: int | tuple[int, int],
    halo: int,
    multiple: int,
    window: tuple[int, int] | None = None,
) -> list[Tile]:
    """Cover a picture with tiles of about one size, row by row.

    Windows start on the grid of ``multiple``, on which the network's strides lie, and reach
    ``halo`` pixels beyond their tile, or to the picture's border where that is nearer: what the
    network does at a border then happens at the picture's own border and nowhere else.

    Args:
        height: of the picture, in pixels; ``width`` likewise.
        side: largest height and width of a tile without its halo, or the two of them, rounded up
            to ``multiple``; 0 takes the picture whole.
        halo: how many pixels around a tile influence its result.
        multiple: what the network needs height and width to be multiples of.
        window: the one (height, width) that an engine takes, in place of ``side``. Windows reach
            that far, or to the border of a picture that is smaller; they may overlap by more
            than the halo.

    Raises:
        UsageError: ``side`` is negative.
    """
    if window is not None:
        rows = _fixed_spans(height, window[0], halo, multiple)
        columns = _fixed_spans(width, window[1], halo, multiple)
        return _tiles(rows, columns)
    tall, wide = side if isinstance(side, tuple) else (side, side)
    if min(tall, wide) < 0:
        raise UsageError(f"tile {side}: must be 0, for the whole picture, or a number of pixels")
    rows = _spans(height, tall or height, halo, multiple)
    columns = _spans(width, wide or width, halo, multiple)
    return _tiles(rows, columns)


def _tiles(rows: Sequence[_Span], columns: Sequence[_Span]) -> list[Tile]:
    return [
        Tile((row[0], column[0]), (row[1], column[1]), (row[2], column[2]))
        for row in rows
        for column in columns
    ]


def least_work(height: int, width: int, pixels: int, halo: int, multiple: int) -> tuple[int, int]:
    """Return (height, width) of the tiles that cover a picture with the least overlap.

    Args:
        height: of the picture, in pixels; ``width`` likewise.
        pixels: what no window, that is a tile with its halo, may exceed.
        halo: as in ``plan_tiles``, and ``multiple``.

    Returns:
        Sides as ``plan_tiles`` takes them; the smallest there are where even they exceed
        ``pixels``.
    """
    margin = _round_up(halo, multiple)
    best, least = (multiple, multiple), float("inf")
    for rows in range(1, min(-(-height // multiple), _MOST_TILES) + 1):
        tall = _round_up(-(-height // rows), multiple)
        widest = pixels // min(tall + min(rows - 1, 2) * margin, _round_up(height, multiple))
        columns = _fewest(width, widest, margin, multiple)
        if columns is None:
            continue
        work = (height + 2 * (rows - 1) * margin) * (width + 2 * (columns - 1) * margin)
        if work < least:
            wide = _round_up(-(-width // columns), multiple)
            best, least = (tall, wide), work
    return best


def _fewest(length: int, longest: int, margin: int, multiple: int) -> int | None:
    """Return the fewest tiles along one axis whose windows are not longer than ``longest``."""
    if _round_up(length, multiple) <= longest:
        return 1
    half = _round_up(-(-length // 2), multiple)
    if half + margin <= longest:
        return 2
    step = (longest - 2 * margin) // multiple * multiple
    return None if step <= 0 else -(-length // step)


def _spans(length: int, side: int, halo: int, multiple: int) -> list[_Span]:
    count = -(-length // _round_up(side, multiple))
    step, margin = _round_up(-(-length // count), multiple), _round_up(halo, multiple)
    spans = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        first, last = max(start - margin, 0), min(stop + margin, length)
        spans.append((slice(first, last), slice(start, stop), slice(start - first, stop - first)))
    return spans


def _fixed_spans(length: int, side: int, halo: int, multiple: int) -> list[_Span]:
    """Return spans whose windows are ``side`` long where the picture is, and lie inside it."""
    step = (side - 2 * halo) // multiple * multiple
    last = max(_round_up(length, multiple), side) - side
    spans = []
    for start in [*range(0, last, step), last]:
        first = start if start == 0 else start + halo
        stop = length if start == last else start + side - halo
        window = slice(start, min(start + side, length))
        spans.append((window, slice(first, stop), slice(first - start, stop - start)))
    return spans


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""By dtype of a picture: the value that is 1 to a network."""
AT_ONCE = 1 << 15
"""Pixels that are converted at once, so that they stay in the cache."""


def to_batch(
    image: NDArray[Any],
    multiple: int | tuple[int, int],
    memory: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return a picture as float32 1CHW RGB in [0, 1], extended to a legal size.

    Args:
        image: HWC RGB or HW grey, of a dtype in ``PEAKS``; grey becomes three equal channels.
        multiple: The bottom row and the right column are repeated until height and width are
            multiples of this, or of one each.
        memory: One-dimensional float32, of which the result becomes a view if it is large enough.
    """
    height, width = image.shape[:2]
    tall, wide = multiple if isinstance(multiple, tuple) else (multiple, multiple)
    shape = (1, 3, height + -height % tall, width + -width % wide)
    size = shape[1] * shape[2] * shape[3]
    if memory is None or memory.size < size:
        memory = np.empty(size, np.float32)
    batch = memory[:size].reshape(shape)
    peak = np.float32(PEAKS[image.dtype])
    for channel in range(3):
        plane = batch[0, channel]
        if image.ndim == 3:
            source = cv2.extractChannel(image, channel)
            np.divide(source, peak, out=plane[:height, :width], dtype=np.float32)
        elif channel == 0:
            np.divide(image, peak, out=plane[:height, :width], dtype=np.float32)
        else:
            plane[:height, :width] = batch[0, 0, :height, :width]
    batch[..., :height, width:] = batch[..., :height, width - 1 : width]
    batch[..., height:, :] = batch[..., height - 1 : height, :]
    return batch


def extended(image: NDArray[np.uint8], multiple: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture of a legal size: itself, or one longer and wider as in ``to_batch``."""
    tall, wide = multiple if isinstance(multiple, tuple) else (multiple, multiple)
    lower, right = -image.shape[0] % tall, -image.shape[1] % wide
    if not lower and not right:
        return image
    larger = cv2.copyMakeBorder(image, 0, lower, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(larger, np.uint8)


def from_planes(
    planes: NDArray[np.float32], derained: NDArray[Any], at_once: int = AT_ONCE
) -> None:
    """Write what a network gave into a picture: clipped, integers rounded half up.

    Args:
        planes: float32 CHW RGB, meant to be in [0, 1].
        derained: HWC RGB, or HW grey, which gets the mean of the channels; of a dtype in
            ``PEAKS``. Its content is replaced.
        at_once: Pixels that are converted at once.
    """
    rows = max(1, at_once // planes.shape[2])
    peak = np.float32(PEAKS[derained.dtype])
    for first in range(0, planes.shape[1], rows):
        part, target = planes[:, first : first + rows], derained[first : first + rows]
        values = np.clip(part if derained.ndim == 3 else part.mean(axis=0), 0, 1)
        if derained.dtype != np.float32:
            values *= peak
            values += np.float32(0.5)
        found = values.astype(derained.dtype, copy=False)  # which cuts off what follows the point
        if derained.ndim == 2:
            target[:] = found
        else:
            cv2.merge(tuple(found), dst=target)
