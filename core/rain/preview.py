"""A contact sheet, so that a person can look at rendered rain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.rain.render import Rendered

HEIGHT, WIDTH = 200, 300
"""Of one cell, in pixels."""


class SheetRow(NamedTuple):
    """A clean picture, uint8 (H, W, 3) RGB, and one rain on it."""

    clean: NDArray[np.uint8]
    rendered: Rendered


def contact_sheet(rows: Sequence[SheetRow]) -> NDArray[np.uint8]:
    """Lay out clean, rainy, streaks and transmission side by side, a row for each picture.

    Args:
        rows: at least one.

    Returns:
        uint8 (200 rows, 1200, 3) RGB; pictures keep their proportions on black.
    """
    return np.vstack([_strip(row) for row in rows])


def _strip(row: SheetRow) -> NDArray[np.uint8]:
    rendered = row.rendered
    veil = (rendered.transmission * 255).astype(np.uint8)
    pictures = (row.clean, rendered.rainy, _grey(rendered.streaks), _grey(veil))
    return np.hstack([_cell(picture) for picture in pictures])


def _grey(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(plane[..., None], 3, axis=2)


def _cell(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(HEIGHT / picture.shape[0], WIDTH / picture.shape[1])
    height, width = (max(1, int(side * scale)) for side in picture.shape[:2])
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cell = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top, left = (HEIGHT - height) // 2, (WIDTH - width) // 2
    cell[top : top + height, left : left + width] = cv2.resize(
        picture, (width, height), interpolation=kind
    )
    return cell
