"""Cut a picture into overlapping windows whose results, put together, are the whole result."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import UsageError

Rectangle = tuple[slice, slice]


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


def plan_tiles(height: int, width: int, side: int, halo: int, multiple: int) -> list[Tile]:
    """Cover a picture with tiles of about one size, row by row.

    Windows start on the grid of ``multiple``, on which the network's strides lie, and reach
    ``halo`` pixels beyond their tile, or to the picture's border where that is nearer: what the
    network does at a border then happens at the picture's own border and nowhere else.

    Args:
        height: of the picture, in pixels; ``width`` likewise.
        side: largest height and width of a tile without its halo, rounded up to ``multiple``;
            0 takes the picture whole.
        halo: how many pixels around a tile influence its result.
        multiple: what the network needs height and width to be multiples of.

    Raises:
        UsageError: ``side`` is negative.
    """
    if side < 0:
        raise UsageError(f"tile {side}: must be 0, for the whole picture, or a number of pixels")
    rows = _spans(height, side or height, halo, multiple)
    columns = _spans(width, side or width, halo, multiple)
    return [
        Tile((row[0], column[0]), (row[1], column[1]), (row[2], column[2]))
        for row in rows
        for column in columns
    ]


def _spans(length: int, side: int, halo: int, multiple: int) -> list[tuple[slice, slice, slice]]:
    """Return (window, target, inner) along one axis."""
    count = -(-length // _round_up(side, multiple))
    step, margin = _round_up(-(-length // count), multiple), _round_up(halo, multiple)
    spans = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        first, last = max(start - margin, 0), min(stop + margin, length)
        spans.append((slice(first, last), slice(start, stop), slice(start - first, stop - first)))
    return spans


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
