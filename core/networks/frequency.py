"""Frequency decomposition: a picture is its base layer plus its detail layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def decompose(rainy: Tensor, radius: int, eps: float) -> tuple[Tensor, Tensor]:
    """Split a picture into base and detail layer (Yang et al., GAN-LSTM, eq. 1 and 2).

    Args:
        rainy: float (N, C, H, W) in [0, 1].
        radius: of the guided filter, in pixels.
        eps: of the guided filter, in squared units of the pixels.

    Returns:
        base: what :func:`guided_filter` keeps.
        detail: ``rainy - base``: streaks, edges and texture. Both are shaped like ``rainy``, and
            their sum is ``rainy`` up to the rounding of one addition.
    """
    base = guided_filter(rainy, radius, eps)
    return base, rainy - base


def guided_filter(picture: Tensor, radius: int, eps: float) -> Tensor:
    """Smooth every channel with itself as the guide, keeping strong edges (He et al. 2013).

    In each window of ``2 radius + 1`` pixels a side, clipped at the border, the result is the line
    ``a I + b`` with ``a = var / (var + eps)`` and ``b = (1 - a) mean`` (eq. 5 and 6 with p = I);
    the lines of all windows around a pixel are averaged (eq. 8). Variation well below
    ``sqrt(eps)`` is smoothed away, variation well above it stays. One pixel depends on those up to
    ``2 radius`` away. Differentiable, and made of operations that every engine has.

    Args:
        picture: float (N, C, H, W); float32 or wider, for squares are subtracted.
        radius: half the side of a window in pixels, at least 1.
        eps: above 0, in squared units of ``picture``.

    Returns:
        float (N, C, H, W).
    """
    mean = box_mean(picture, radius)
    variance = box_mean(picture * picture, radius) - mean * mean
    slope = variance / (variance + eps)
    offset = (1 - slope) * mean
    return box_mean(slope, radius) * picture + box_mean(offset, radius)


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over a square window around each pixel, counting only pixels inside the picture.

    Rows and columns are averaged one after the other, which gives the same mean in
    ``2 (2 radius + 1)`` instead of ``(2 radius + 1)**2`` additions.

    Args:
        x: float (N, C, H, W), of any size.
        radius: half the side of the window in pixels; the window may be larger than the picture.

    Returns:
        float (N, C, H, W).
    """
    side = 2 * radius + 1
    rows = F.avg_pool2d(x, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)
