"""Streaks of falling drops as a camera sees them, in a still or in any frame of a clip.

A drop that falls while the shutter is open leaves a line as long as its way, as soft as the drop is
wide (Garg and Nayar, Vision and Rain, 2007); a drop that oscillates ripples the brightness along it
(ibid.). Streaks that are thinner than a pixel are dimmer instead. Every drop has its own place,
direction, length and brightness; those of a layer are drawn as points, which one blur makes lines.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from core.rain.scene import StreakLayer

Layer = NDArray[np.float32]
THINNEST = 0.5
"""Smallest standard deviation across a streak that pixels can hold without aliasing."""
_GOLDEN = (5**0.5 - 1) / 2  # steps of this share of a range come near no place again soon
_POINTS = 2**16  # drawn at a time, so that they stay in the cache


def draw_streaks(
    height: int, width: int, layer: StreakLayer, rng: np.random.Generator, fallen: float = 0.0
) -> Layer:
    """Draw the streaks of one layer.

    Args:
        height: rows.
        width: columns.
        layer: what they look like.
        rng: source of positions and of the spread around the layer's means, advanced; in the same
            state it gives the same drops.
        fallen: how far they have fallen since then, in lengths of their streaks. For a drop that
            leaves the picture below another one enters it above, at another place.

    Returns:
        float32 (height, width), 0 or more, 1 is white; not clipped.
    """
    soft = max(float(np.hypot(layer.width, layer.blur)), THINNEST)
    taper = 0.12 * layer.length + 0.25
    reach = int(np.ceil(0.65 * layer.length + 3 * taper))
    sine, cosine = np.sin(np.deg2rad(layer.angle)), np.cos(np.deg2rad(layer.angle))
    # Drops fall down a turned rectangle that holds the picture and all that reaches into it.
    rows = width * abs(sine) + height * abs(cosine) + 2 * reach
    slanted = rows * np.tan(np.deg2rad(min(2 * layer.jitter, 45)))
    columns = width * abs(cosine) + height * abs(sine) + 8 * soft + slanted
    count = int(rng.poisson(layer.density * rows * columns))
    across, along, bright, phase = rng.random((4, count))
    slant = np.deg2rad(np.clip(layer.jitter * rng.standard_normal(count), -45, 45))
    length = layer.length * rng.uniform(0.7, 1.3, count)
    lives, along = np.divmod(along + length * fallen / rows, 1)
    along = (along - 0.5) * rows
    across = ((across + lives * _GOLDEN) % 1 - 0.5) * columns + along * np.tan(slant)
    x = (width - 1) / 2 + across * cosine + along * sine
    y = (height - 1) / 2 - across * sine + along * cosine
    seen = (abs(x - width / 2) < width / 2 + reach) & (abs(y - height / 2) < height / 2 + reach)
    peak = layer.strength * (0.15 + 0.85 * bright**2)  # more faint drops than bright ones
    peak *= np.sqrt(2 * np.pi) * layer.width
    slant += np.deg2rad(layer.angle)
    drops = np.stack([x, y, np.sin(slant), np.cos(slant), length, peak, 2 * np.pi * phase])
    order = y[seen].argsort()  # so that those drawn at a time lie in a band of rows
    drops = drops[:, seen][:, order].astype(np.float32)[..., None]

    margin = int(np.ceil(3 * soft)) + 1
    drops[:2] += margin
    canvas = np.zeros((height + 2 * margin, width + 2 * margin))
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    many = max(1, _POINTS // len(steps))
    for start in range(0, drops.shape[1], many):
        x, y, dx, dy, length, peak, phase = drops[:, start : start + many]
        # A logistic of this slope is an edge blurred by a Gaussian, to within 1 percent.
        ends = np.float32(1.7 / taper) * (np.abs(steps) - length / 2)
        weight = peak / (1 + np.exp(np.minimum(ends, np.float32(50))))
        if layer.ripples:
            turns = np.float32(2 * np.pi * layer.ripples) * steps / length
            weight *= (2 + np.sin(turns + phase)) / 3
        _add_points(canvas, x + steps * dx, y + steps * dy, weight)
    lines = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), soft)
    inside = lines[margin : margin + height, margin : margin + width]
    return np.ascontiguousarray(inside, np.float32)


def _add_points(canvas: NDArray[np.float64], x: Layer, y: Layer, weight: Layer) -> None:
    """Share points out among the four pixels around each; those outside the canvas are left out."""
    height, width = canvas.shape
    inside = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
    x, y, weight = x[inside], y[inside], weight[inside]
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, below = x - left, y - top
    first = top * width + left
    start, flat = int(first.min(initial=canvas.size)), canvas.reshape(-1)
    shares = ((1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right)
    for step, share in zip((0, 1, width, width + 1), shares, strict=True):
        added = np.bincount(first - start, weight * share)
        flat[start + step : start + step + added.size] += added
