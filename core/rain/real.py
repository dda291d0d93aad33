"""Rain of real pictures: streak pictures, streaks of a filmed clip, and the rain of other pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.pairs import SourceConfig, find_pairs, read_pairs

Picture = NDArray[np.uint8]
Layer = NDArray[np.float32]
Masks = Sequence[Picture]
FAINTEST = 10
"""Levels by which a filmed streak is brighter at least; less is noise."""
THICKEST = 2.5
"""Standard deviation across a filmed streak, in pixels, at most."""


def read_masks(folder: str | Path) -> list[Picture]:
    """Read streak pictures, uint8 (H, W) each.

    A folder with ``rainy`` and ``derained`` in it holds a filmed clip and what a video method made
    of it; its streaks are :func:`filmed_streaks`.

    Raises:
        DataError: a missing or empty folder, or an unreadable picture.
    """
    place = Path(folder)
    if (place / "derained").is_dir():
        source = SourceConfig("folders", rainy="rainy", clean="derained")
        return [filmed_streaks(*pair) for pair in read_pairs(find_pairs(source, place))]
    files = find_pairs(SourceConfig("clean", root=str(place)))
    return [np.ascontiguousarray(picture.max(axis=2)) for picture, _ in read_pairs(files)]


def filmed_streaks(rainy: Picture, derained: Picture) -> Picture:
    """Keep of what a video method took away from a frame what is brighter, grey, long and thin.

    Where it was wrong, at things that the camera passed, it took away what is dark, coloured, broad
    or level.

    Args:
        rainy: uint8 (H, W, 3) RGB.
        derained: likewise.

    Returns:
        uint8 (H, W), 0 where there is no streak.
    """
    taken = rainy.astype(np.int16) - derained
    least, most = taken.min(axis=2), taken.max(axis=2)
    grey = (least >= FAINTEST) & (most - least <= 0.5 * most)
    _, labels = cv2.connectedComponents(grey.astype(np.uint8))
    y, x = np.indices(grey.shape).reshape(2, -1)
    pieces = labels.ravel()
    count = np.maximum(np.bincount(pieces), 1)
    x, y = (place - (np.bincount(pieces, place) / count)[pieces] for place in (x, y))
    across, down, both = (np.bincount(pieces, each) / count for each in (x * x, y * y, x * y))
    half, root = (across + down) / 2, np.hypot((across - down) / 2, both)
    streaks = (half - root <= THICKEST**2) & (half + root >= 9 * (half - root + 1 / 12))
    streaks &= (count >= 8) & (down >= across / 4)
    kept = cv2.dilate((grey & streaks[labels]).astype(np.uint8), np.ones((3, 3)))  # with soft edges
    return np.asarray(kept * np.maximum(least, 0), np.uint8)


def cut_streaks(
    mask: Picture, height: int, width: int, rng: np.random.Generator, turned: bool = False
) -> Layer:
    """Cut a piece of a streak picture at random, zoomed, mirrored and, if so, turned and sheared.

    Returns:
        float32 (height, width), 0 or more, 1 is white.
    """
    there, here = np.array(mask.shape[::-1]), np.array([width, height])
    # A small picture is enlarged until it covers the piece.
    around = 1.35 if turned else 1.0  # so that its corners are in the picture as well
    zoom = max(rng.uniform(0.6, 1.4), *(around * here / there))
    turn = np.array([[rng.choice((-1.0, 1.0)), 0.0], [0.0, 1.0]]) / zoom
    if turned:
        angle = np.deg2rad(rng.uniform(-10, 10))
        spin = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turn = spin @ turn @ [[1.0, rng.uniform(-0.15, 0.15)], [0.0, 1.0]]
    size = around * here / zoom
    middle = rng.random(2) * (there - size) + (size - 1) / 2
    piece = cv2.warpAffine(
        mask,
        np.column_stack([turn, middle - turn @ ((here - 1) / 2)]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(piece / np.float32(255))


def mix_streaks(masks: Masks, height: int, width: int, rng: np.random.Generator) -> Layer:
    """Mix pieces of up to three streak pictures by random weights.

    RainMix (Guo et al., EfficientDeRain, AAAI 2021), which makes many rains of a few real ones.
    Returns what :func:`cut_streaks` does.
    """
    mixed = np.zeros((height, width), np.float32)
    for weight in rng.dirichlet(np.ones(rng.integers(1, 4))):
        mask = masks[int(rng.integers(len(masks)))]
        mixed += np.float32(weight) * cut_streaks(mask, height, width, rng, turned=True)
    return mixed


_ROOM = 48.0
"""Levels below white under which a lender is too bright to say how strong its rain is."""


def borrow_rain(
    clean: Picture, lender_rainy: Picture, lender_clean: Picture, screen: bool
) -> Picture:
    """Lay the rain of another pair over a picture.

    Args:
        clean: uint8 (H, W, 3) RGB, as the other pair and what is returned.
        lender_rainy: of the other pair.
        lender_clean: likewise.
        screen: take the rain for a share of the way to white, ``(rainy - clean) / (1 - clean)``,
            which bright backgrounds hide; otherwise for a light that is added.
    """
    added = lender_rainy.astype(np.float32) - lender_clean
    if screen:
        room = np.float32(255) - lender_clean
        added *= (np.float32(255) - clean) / np.maximum(room, np.float32(_ROOM))
    return np.asarray(np.clip(np.rint(clean + added), 0, 255), dtype=np.uint8)
