"""Less flicker in video: blend each frame with the one before wherever nothing moves."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WEIGHT = 0.8
"""Share of the steadied frame before, where nothing moves."""
THRESHOLD = 1.5
"""Change of the blurred brightness, of 255, up to which nothing moves; at twice this, all does."""

_Plane = NDArray[np.float32]
_SCALE = 4  # motion is looked for in a picture of a quarter of the height and width
_SIGMA = 0.75  # there, in pixels
_REACH = np.ones((3, 3), np.uint8)  # and it stops the blending this far around it
_PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


class Steadier:
    """Steadies the derained frames of one video, in turn.

        >>> steadier = Steadier()
        >>> steadied = [steadier(derainer(frame)) for frame in frames]

    What the network leaves of a streak is small and gone in the next frame; what moves changes the
    blurred picture. So a pixel is blended with its steadied predecessor by ``WEIGHT`` where the
    brightness, blurred over about 6 pixels, changed by no more than ``THRESHOLD``, and left alone
    where it or its neighbourhood changed twice as much, with a smooth passage between. A cut, or
    a frame of another shape, begins anew. Holds one frame. Not for threads to share.
    """

    def __init__(self) -> None:
        self._before: _Plane | None = None
        self._blurred: _Plane | None = None

    def __call__(self, frame: NDArray[Any]) -> NDArray[Any]:
        """Return the next frame, steadied: a new array of the same shape, dtype and range.

        Args:
            frame: HWC RGB or HW grey; uint8, uint16, or float32 in [0, 1].
        """
        current: _Plane = frame.astype(np.float32)
        blurred = _blur(current / np.float32(_PEAKS[frame.dtype] / 255))
        before, blurred_before = self._before, self._blurred
        if before is not None and blurred_before is not None and before.shape == frame.shape:
            weight = _stillness(blurred, blurred_before, frame.shape) * np.float32(WEIGHT)
            before -= current
            before *= weight if frame.ndim == 2 else weight[..., None]
            current += before
        self._before, self._blurred = current, blurred
        if frame.dtype == np.float32:
            return np.array(current)
        rounded: _Plane = np.floor(current + np.float32(0.5))
        return np.asarray(rounded.astype(frame.dtype))


def _stillness(blurred: _Plane, before: _Plane, shape: tuple[int, ...]) -> _Plane:
    """Return HW float32 of a shape: 1 where nothing moved since the frame before, 0 where all."""
    change = cv2.dilate(cv2.absdiff(blurred, before), _REACH)
    still = np.clip(2 - change / np.float32(THRESHOLD), 0, 1)
    scaled = cv2.resize(still, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.float32)


def _blur(frame: _Plane) -> _Plane:
    """Return the brightness of a frame in 0..255, at a quarter of the size, blurred."""
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    height, width = (max(1, side // _SCALE) for side in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _SIGMA), dtype=np.float32)
