"""Streaks of two sources: falling drops as the camera sees them, and pictures of streaks.

A drop that falls during the exposure leaves a line as long as its way, as soft as the drop is wide
(Garg and Nayar, Vision and Rain, 2007); a drop that oscillates ripples the brightness along it
(ibid.). Streaks that are thinner than a pixel are dimmer instead. They are drawn by the hundred in
one filter pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.pairs import SourceConfig, find_pairs, read_pairs
from core.rain.scene import MaskLayer, StreakLayer

Layer = NDArray[np.float32]
BANK = 4
"""Kernels of a layer; each has its own direction, length and width."""
THINNEST = 0.5
"""Smallest standard deviation across a streak that pixels can hold without aliasing."""


def draw_streaks(height: int, width: int, layer: StreakLayer, rng: np.random.Generator) -> Layer:
    """Draw the streaks of one layer.

    Args:
        height: rows.
        width: columns.
        layer: what they look like.
        rng: source of positions and of the spread around the layer's means, advanced.

    Returns:
        float32 (height, width), 0 or more, 1 is white; not clipped.
    """
    drawn = np.zeros((height, width), np.float32)
    for _ in range(BANK):
        angle = layer.angle + layer.jitter * rng.standard_normal()
        length = layer.length * rng.uniform(0.7, 1.3)
        thickness = layer.width * rng.uniform(0.8, 1.2)
        phase = rng.uniform(0, 2 * np.pi)
        soft = max(thickness, THINNEST)
        profiles = _along(length, soft, layer.oscillation, phase), _across(soft)
        brightness = layer.strength * min(thickness / THINNEST, 1.0)
        count = layer.density / BANK
        drawn += _parallel(drawn.shape, np.deg2rad(angle), profiles, count, brightness, rng)
    return drawn


def _along(length: float, softness: float, ripples: float, phase: float) -> Layer:
    """Brightness along a streak: a line with tapered ends, rippled where the drop oscillates."""
    taper = max(softness, 0.12 * length)
    radius = int(np.ceil(length / 2 + 2.5 * taper))
    along = np.arange(-radius, radius + 1, dtype=np.float64)
    # A logistic of this slope is an edge blurred by a Gaussian, to within 1 percent.
    ends = np.exp(np.clip(1.7 / taper * (np.abs(along) - length / 2), -50, 50))
    brightness = 1 / (1 + ends)
    if ripples:
        brightness *= 1 + 0.5 * np.sin(2 * np.pi * ripples * along / length + phase)
    return np.asarray((brightness / brightness.max())[:, None], np.float32)


def _across(width: float) -> Layer:
    """Gaussian of standard deviation ``width`` pixels, with a peak of 1."""
    radius = int(np.ceil(3 * width))
    across = np.arange(-radius, radius + 1, dtype=np.float64)
    profile = np.exp(-(across**2) / (2 * width**2))
    return np.asarray(profile[:, None], np.float32)


def _parallel(
    shape: tuple[int, ...],
    angle: float,
    profiles: tuple[Layer, Layer],
    density: float,
    brightness: float,
    rng: np.random.Generator,
) -> Layer:
    """Draw equal streaks upright, as products of two profiles, and turn the canvas."""
    (height, width), (along, across) = shape, profiles
    sine, cosine = np.sin(angle), np.cos(angle)
    columns = int(np.ceil(width * abs(cosine) + height * abs(sine))) + len(across) + 2
    rows = int(np.ceil(width * abs(sine) + height * abs(cosine))) + len(along) + 2
    count = rng.poisson(density * rows * columns)
    places = rng.integers(rows * columns, size=count)
    peaks = brightness * (0.15 + 0.85 * rng.random(count) ** 2)  # more faint drops than bright ones
    drops = np.bincount(places, peaks, rows * columns).astype(np.float32).reshape(rows, columns)
    lines = cv2.sepFilter2D(drops, cv2.CV_32F, across, along, borderType=cv2.BORDER_CONSTANT)
    # Picture (x, y) from its middle lies at (x cos - y sin, x sin + y cos) on the canvas.
    shift = rng.uniform(0, 1, 2)
    middle = np.array([(columns - 2) / 2, (rows - 2) / 2]) + shift
    turn = np.array([[cosine, -sine], [sine, cosine]])
    offset = middle - turn @ [(width - 1) / 2, (height - 1) / 2]
    turned = cv2.warpAffine(
        lines,
        np.column_stack([turn, offset]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    return np.asarray(turned, np.float32)


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
