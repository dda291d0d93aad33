"""Pixels to what networks take, and back: without a copy of more than a few rows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""By dtype of a picture: the value that is 1 to a network."""
_AT_ONCE = 1 << 15  # pixels that are converted at once, so that they stay in the cache


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


def from_planes(planes: NDArray[np.float32], derained: NDArray[Any]) -> None:
    """Write what a network gave into a picture: clipped, integers rounded half up.

    Args:
        planes: float32 CHW RGB, meant to be in [0, 1].
        derained: HWC RGB, or HW grey, which gets the mean of the channels; of a dtype in
            ``PEAKS``. Its content is replaced.
    """
    rows = max(1, _AT_ONCE // planes.shape[2])
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
