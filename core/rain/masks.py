"""The second source of streaks: pictures of them, grey on black, from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.pairs import SourceConfig, find_pairs, read_pairs
from core.rain.scene import MaskLayer

Masks = Mapping[str, NDArray[np.uint8]]


def read_masks(folder: str | Path) -> dict[str, NDArray[np.uint8]]:
    """Read every streak picture of a folder: uint8 (H, W) by file stem.

    Raises:
        DataError: a missing or empty folder, or an unreadable picture.
    """
    files = find_pairs(SourceConfig("clean", root=str(folder)))
    return {
        file.clean.stem: np.ascontiguousarray(picture.max(axis=2))
        for file, (picture, _) in zip(files, read_pairs(files), strict=True)
    }


def cut_mask(layer: MaskLayer, masks: Masks, height: int, width: int) -> NDArray[np.float32]:
    """Cut the piece of a streak picture that a scene asks for.

    Returns:
        float32 (height, width), 0 or more, 1 is white.

    Raises:
        DataError: a picture that is not among ``masks``.
    """
    if layer.name not in masks:
        raise DataError(f"streak picture {layer.name!r} is not there; give the folder it is in")
    mask = masks[layer.name]
    rows = max(1, min(round(height / layer.scale), mask.shape[0]))
    columns = max(1, min(round(width / layer.scale), mask.shape[1]))
    top = int(layer.top * (mask.shape[0] - rows + 1))
    left = int(layer.left * (mask.shape[1] - columns + 1))
    piece = mask[top : top + rows, left : left + columns]
    if layer.mirrored:
        piece = piece[:, ::-1]
    if piece.shape != (height, width):
        shrink = cv2.INTER_AREA if piece.shape[0] > height else cv2.INTER_LINEAR
        piece = cv2.resize(piece, (width, height), interpolation=shrink).astype(np.uint8)
    return np.asarray(piece * np.float32(layer.strength / 255), np.float32)
