"""Depth of every pixel: read from depth pictures, or a flat ground under a far sky."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import read_picture

Depth = NDArray[np.float32]
CAMERA_HEIGHT = 1.5
"""Metres between the camera and the ground of the prior: a standing photographer."""
FOCAL_LENGTH = 1.2
"""Of the prior's camera, as a share of the picture's height: a 45 degree field of view."""


def ground_depth(height: int, width: int, horizon: float, far: float) -> Depth:
    """Depth of a level ground seen by an upright pinhole camera, the prior without a depth file.

    A row ``r`` below the horizon ``h`` sees the ground at ``1.5 m * focal / (r - h)``; the horizon,
    all above it and everything farther than ``far`` lies at ``far``.

    Args:
        height: rows.
        width: columns.
        horizon: row of the horizon as a share of the height; outside [0, 1] it is out of sight.
        far: depth of the sky in metres.

    Returns:
        float32 (height, width) in metres, read-only: every row is held once.
    """
    below = (np.arange(height, dtype=np.float32) + 0.5) / height - horizon
    nearest = CAMERA_HEIGHT * FOCAL_LENGTH / far
    rows = CAMERA_HEIGHT * FOCAL_LENGTH / np.maximum(below, nearest)
    return np.broadcast_to(rows.astype(np.float32)[:, None], (height, width))


def read_depth(path: str | Path, height: int, width: int) -> Depth:
    """Read a depth picture for a picture of the given size, mended where it is unknown or wrong.

    Args:
        path: one-channel uint16 picture in centimetres, 0 where unknown.
        height: rows of the picture.
        width: its columns.

    Returns:
        float32 (height, width) in metres, without holes and specks.

    Raises:
        DataError: an unreadable file, one that is not one channel of 16 bits, or all unknown.
    """
    try:
        picture = read_picture(path)
    except ImageError as error:
        raise DataError(str(error)) from error
    if picture.rgb.dtype != np.uint16 or not picture.grey:
        raise DataError(f"{path}: depth must be one channel of uint16 centimetres (PNG)")
    depth = np.asarray(picture.rgb[..., 0], np.float32) / np.float32(100)
    if not depth.any():
        raise DataError(f"{path}: every pixel is 0, so no depth is known; remove it")
    depth = _filled(_without_specks(depth))
    sized = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(sized, np.float32)


def _without_specks(depth: Depth) -> Depth:
    """Forget small islands, as stereo matching leaves them, unless most is islands (LiDAR)."""
    logs = np.where(depth > 0, 1000 * np.log(np.maximum(depth, 0.01)) + 5000, 0).astype(np.int16)
    kept = cv2.filterSpeckles(logs, 0, max(1, depth.size // 2000), 100)[0] > 0
    if 2 * np.count_nonzero(kept) < np.count_nonzero(depth):
        return depth
    return np.where(kept, depth, 0).astype(np.float32)


def _filled(depth: Depth) -> Depth:
    """Give every pixel without a depth (0) that of the nearest with one, then smooth there."""
    unknown = depth <= 0
    if not unknown.any():
        return depth
    _, labels = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.zeros(int(labels.max()) + 1, np.float32)
    known[labels[~unknown]] = depth[~unknown]
    filled = known[labels]
    smooth = cv2.GaussianBlur(filled, (0, 0), max(1.0, 0.01 * max(depth.shape)))
    return np.where(unknown, smooth, depth).astype(np.float32)
