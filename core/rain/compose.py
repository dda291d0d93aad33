"""How light adds up: overcast light, then the veil, then the streaks, then white is white.

Pixels are display values in [0, 1], as in the data sets of the field, which compose there too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


def transmission(depth: Pixels, extinction: float) -> Pixels:
    """Share of the light that comes through: ``exp(-beta d)`` (Koschmieder 1924).

    Args:
        depth: float32 (H, W) in metres.
        extinction: beta, a metre.

    Returns:
        float32 (H, W) in (0, 1].
    """
    return np.asarray(np.exp(-np.float32(extinction) * depth), np.float32)


def lay_overcast(picture: Pixels, strength: float) -> Pixels:
    """Darken a picture and take contrast from it, as overcast light does.

    Args:
        picture: float32 (H, W, 3) in [0, 1].
        strength: s; pixels become ``(1 - s) (I + s mean(I))``, so contrast falls by s.

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    if not strength:
        return picture
    mean = picture.mean(dtype=np.float64)
    return np.asarray((1 - strength) * (picture + strength * mean), np.float32)


def lay_veil(picture: Pixels, through: Pixels, airlight: tuple[float, float, float]) -> Pixels:
    """Lay the veil of distant rain: ``I = B t + A (1 - t)`` (paper 1, eq. 8).

    Args:
        picture: B, float32 (H, W, 3) in [0, 1].
        through: t, float32 (H, W) in [0, 1].
        airlight: A, RGB in [0, 1].

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    grey = np.asarray(airlight, np.float32)
    return np.asarray(grey + (picture - grey) * through[..., None], np.float32)


def visible(depth: Pixels, layer_depth: float) -> Pixels:
    """Share of a layer that the scene leaves uncovered: 0 where nearer, 1 where farther, soft.

    Args:
        depth: of the scene, float32 (H, W) in metres.
        layer_depth: of the layer in metres; the edge is a fifth of it wide.

    Returns:
        float32 (H, W) in [0, 1].
    """
    beyond = (depth - np.float32(layer_depth)) / np.float32(0.2 * layer_depth)
    return np.asarray(np.clip(beyond + 0.5, 0, 1), np.float32)


def lay_streaks(picture: Pixels, streaks: Pixels, screen: bool) -> Pixels:
    """Lay streaks over a picture; highlights clip at white.

    Args:
        picture: I, float32 (H, W, 3) in [0, 1].
        streaks: S, float32 (H, W), 0 or more.
        screen: ``I + S (1 - I)`` with S up to 1, instead of ``I + S``.

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    light = streaks[..., None]
    if screen:
        light = np.minimum(light, 1) * (1 - picture)
    return np.asarray(np.minimum(picture + light, 1), np.float32)
