"""Pictures to look at: what rain was removed, and before beside after."""

from __future__ import annotations

import dataclasses

import numpy as np

from edge_runtime.pictures.picture import Picture

_DIVIDER_SHARE = 300
"""The divider is one pixel wide for so many of the picture's width."""


def compare(rainy: Picture, derained: Picture) -> Picture:
    """Return rainy (left) and derained (right) side by side with a white divider.

    Both have the same size, depth and channels; alpha, where there is one, is opaque in the
    divider.
    """
    height, width = rainy.rgb.shape[:2]
    gap = max(2, round(width / _DIVIDER_SHARE))
    white = np.iinfo(rainy.rgb.dtype).max
    line = np.full((height, gap, 3), white, rainy.rgb.dtype)
    alpha = None
    if rainy.alpha is not None and derained.alpha is not None:
        alpha = np.hstack([rainy.alpha, line[..., 0], derained.alpha])
    rgb = np.hstack([rainy.rgb, line, derained.rgb])
    return dataclasses.replace(derained, rgb=rgb, alpha=alpha)


def difference(rainy: Picture, derained: Picture) -> Picture:
    """Return the removed rain, rainy less derained, as light on black.

    Where derained is the brighter one, which rain hardly ever asks for, it is black. Both have
    the same size and depth; alpha is that of ``derained``.
    """
    brighter = np.maximum(rainy.rgb, derained.rgb)
    return dataclasses.replace(derained, rgb=brighter - derained.rgb)
