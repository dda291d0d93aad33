"""Rain of one pair on the clean picture of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOM = 48.0
"""Levels below white under which a lender is too bright to say how strong its rain is."""


def borrow_rain(
    clean: NDArray[np.uint8],
    lender_rainy: NDArray[np.uint8],
    lender_clean: NDArray[np.uint8],
    screen: bool,
) -> NDArray[np.uint8]:
    """Lay the rain of another pair over a picture.

    Args:
        clean: uint8 (H, W, 3) RGB.
        lender_rainy: the other pair, of the same shape.
        lender_clean: likewise.
        screen: take the rain for a share of the way to white, ``(rainy - clean) / (1 - clean)``,
            which bright backgrounds hide; otherwise for a light that is added.

    Returns:
        rainy: uint8 (H, W, 3) RGB, clipped to black and white.
    """
    added = lender_rainy.astype(np.float32) - lender_clean
    if screen:
        room = np.float32(255) - lender_clean
        added *= (np.float32(255) - clean) / np.maximum(room, np.float32(_ROOM))
    return np.asarray(np.clip(np.rint(clean + added), 0, 255), dtype=np.uint8)
