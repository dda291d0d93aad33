"""Pictures side by side under headings, in one file: a strip for a README or a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import MissingExtraError

Image = NDArray[np.uint8]

_GAP = 8
_HEAD = 26
_FOOT = 22
_LETTERS = 9.0  # points: 12.5 pixels at 100 an inch


@dataclass(frozen=True)
class Cell:
    """A picture, HWC uint8 RGB, and what stands below it."""

    image: Image
    caption: str = ""


def strip(headings: Sequence[str], rows: Sequence[Sequence[Cell]], width: int = 240) -> Image:
    """Lay pictures out in rows on white.

    Args:
        headings: One for each column.
        rows: At least one, each with a cell for each heading; all pictures of a row have one shape.
        width: Of a column in pixels; wider pictures are reduced and narrower ones enlarged.

    Returns:
        HWC uint8 RGB.

    Raises:
        MissingExtraError: matplotlib, which draws the letters, is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None

    scaled = [[_fitting(cell.image, width) for cell in row] for row in rows]
    tops = [_HEAD]
    for images in scaled:
        tops.append(tops[-1] + images[0].shape[0] + _FOOT)
    lefts = [_GAP + column * (width + _GAP) for column in range(len(headings))]
    across, down = lefts[-1] + width + _GAP, tops[-1]
    figure = Figure(figsize=(across / 100, down / 100), dpi=100)
    canvas: Any = FigureCanvasAgg(figure)

    def write(text: str, left: int, base: float, **style: Any) -> None:
        x, y = (left + width / 2) / across, 1 - base / down
        figure.text(x, y, text, ha="center", va="center", fontsize=_LETTERS, **style)

    for heading, left in zip(headings, lefts, strict=True):
        write(heading, left, _HEAD / 2, weight="bold")
    for row, images, top in zip(rows, scaled, tops[:-1], strict=True):
        for cell, image, left in zip(row, images, lefts, strict=True):
            write(cell.caption, left, top + image.shape[0] + _FOOT * 0.45, color="#444b53")
    canvas.draw()
    sheet = np.array(canvas.buffer_rgba())[..., :3]
    for images, top in zip(scaled, tops[:-1], strict=True):
        for image, left in zip(images, lefts, strict=True):
            sheet[top : top + image.shape[0], left : left + width] = image
    return sheet


def _fitting(image: Image, width: int) -> Image:
    height = max(round(image.shape[0] * width / image.shape[1]), 1)
    if (height, width) == image.shape[:2]:
        return image
    way = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)
