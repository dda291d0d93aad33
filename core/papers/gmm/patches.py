"""Square patches of a plane that wraps around, and the plane back from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 8
"""Height and width of a patch."""
Plane = NDArray[np.float32]


def extract(plane: Plane, stride: int) -> tuple[Plane, Plane]:
    """Take patches from every ``stride``-th position of a plane, across its borders too.

    Args:
        plane: float32 (H, W); both multiples of ``stride``.
        stride: a divisor of :data:`SIDE`.

    Returns:
        Patches without their means, float32 (H W / stride², 64), and the means, (H W / stride², 1).
    """
    wrapped = np.pad(plane, (0, SIDE - 1), mode="wrap")
    windows = np.lib.stride_tricks.sliding_window_view(wrapped, (SIDE, SIDE))
    patches = windows[::stride, ::stride].reshape(-1, SIDE * SIDE)
    means = patches.mean(axis=1, keepdims=True)
    return patches - means, means


def average(patches: Plane, shape: tuple[int, int], stride: int) -> Plane:
    """Put patches where :func:`extract` took them from and average where they overlap.

    Args:
        patches: float32 (H W / stride², 64).
        shape: H and W of the plane.
        stride: as that of :func:`extract`; every pixel lies in ``(SIDE / stride)²`` patches.

    Returns:
        float32 (H, W).
    """
    height, width = shape
    cells = patches.reshape(height // stride, width // stride, SIDE, SIDE)
    wrapped = np.zeros((height + SIDE - stride, width + SIDE - stride), np.float32)
    for y in range(SIDE):
        for x in range(SIDE):
            wrapped[y : y + height : stride, x : x + width : stride] += cells[:, :, y, x]
    beyond = SIDE - stride
    wrapped[:beyond] += wrapped[height:]
    wrapped[:, :beyond] += wrapped[:, width:]
    return np.asarray(wrapped[:height, :width] / (SIDE // stride) ** 2, np.float32)
