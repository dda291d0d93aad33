"""Rain of real pictures: streak pictures, streaks of a filmed clip, and the rain of other pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.pairs import SourceConfig, find_pairs, read_pairs
from core.rain.scene import GOLDEN, MaskLayer

Picture = NDArray[np.uint8]
Masks = Mapping[str, Picture]
THIN = 11
"""Pixels across which what a video method took away is no streak."""


def read_masks(folder: str | Path) -> dict[str, Picture]:
    """Read streak pictures: uint8 (H, W) by file stem.

    A folder with ``rainy`` and ``derained`` in it holds a filmed clip and what a video method made
    of it; its streaks are :func:`filmed_streaks`.

    Raises:
        DataError: a missing or empty folder, or an unreadable picture.
    """
    place = str(folder)
    if (Path(folder) / "derained").is_dir():
        source = SourceConfig("folders", rainy=f"{place}/rainy", clean=f"{place}/derained")
        files = find_pairs(source)
        return {
            file.clean.stem: filmed_streaks(rainy, derained)
            for file, (rainy, derained) in zip(files, read_pairs(files), strict=True)
        }
    files = find_pairs(SourceConfig("clean", root=place))
    return {
        file.clean.stem: np.ascontiguousarray(picture.max(axis=2))
        for file, (picture, _) in zip(files, read_pairs(files), strict=True)
    }


def filmed_streaks(rainy: Picture, derained: Picture) -> Picture:
    """Keep of what a video method took away from a frame what is brighter, thin and grey.

    Where it was wrong, at things that the camera passed, it took away what is dark, coloured or
    broad.

    Args:
        rainy: uint8 (H, W, 3) RGB.
        derained: likewise.

    Returns:
        uint8 (H, W), 0 where there is no streak.
    """
    taken = rainy.astype(np.int16) - derained
    least, most = taken.min(axis=2), taken.max(axis=2)
    grey = np.where(most - least <= 0.5 * most, np.maximum(least, 0), 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THIN, THIN))
    return np.asarray(cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, disc), np.uint8)


def cut_mask(
    layer: MaskLayer, masks: Masks, height: int, width: int, frame: float = 0.0
) -> NDArray[np.float32]:
    """Cut the piece of a streak picture that a scene asks for; another one in every frame.

    Returns:
        float32 (height, width), 0 or more, 1 is white.

    Raises:
        DataError: a picture that is not among ``masks``.
    """
    if layer.name not in masks:
        raise DataError(f"streak picture {layer.name!r} is not there; give the folder it is in")
    mask = masks[layer.name]
    there, here = np.array(mask.shape[::-1]), np.array([width, height])
    zoom = max(layer.scale, *(here / there))  # a small one is enlarged until it covers the picture
    size, angle = here / zoom, np.deg2rad(layer.turn)
    place = (np.array([layer.left, layer.top]) + frame * GOLDEN) % 1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ [[-1.0 if layer.mirrored else 1.0, layer.shear], [0.0, 1.0]] / zoom
    offset = place * (there - size) + (size - 1) / 2 - turn @ ((here - 1) / 2)
    piece = cv2.warpAffine(
        mask,
        np.column_stack([turn, offset]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(piece * np.float32(layer.strength / 255), np.float32)


_ROOM = 48.0
"""Levels below white under which a lender is too bright to say how strong its rain is."""


def borrow_rain(
    clean: Picture,
    lender_rainy: Picture,
    lender_clean: Picture,
    screen: bool,
) -> Picture:
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
