"""Gaussian mixtures of 8x8 patches: the patches, likelihood under noise and its filter, files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core.checkpoint import load_tensors
from core.errors import DataError

SIDE = 8
"""Height and width of a patch."""
Array = NDArray[np.float32]


def extract(plane: Array, stride: int) -> tuple[Array, Array]:
    """Take patches from every ``stride``-th position of a plane, across its borders too.

    Args:
        plane: float32 (H, W); both multiples of ``stride``.
        stride: a divisor of :data:`SIDE`.

    Returns:
        Patches without their means, float32 (H W / stride², 64), and the means, (H W / stride², 1).
    """
    wrapped = np.pad(plane, (0, SIDE - 1), mode="wrap")
    windows = np.lib.stride_tricks.sliding_window_view(wrapped, (SIDE, SIDE))
    patches = windows[::stride, ::stride].reshape(-1, SIDE * SIDE)
    means = patches.mean(axis=1, keepdims=True)
    return patches - means, means


def average(patches: Array, shape: tuple[int, int], stride: int) -> Array:
    """Put patches where :func:`extract` took them from and average where they overlap.

    Args:
        patches: float32 (H W / stride², 64).
        shape: H and W of the plane.
        stride: as that of :func:`extract`; every pixel lies in ``(SIDE / stride)²`` patches.

    Returns:
        float32 (H, W).
    """
    height, width = shape
    cells = patches.reshape(height // stride, width // stride, SIDE, SIDE)
    wrapped = np.zeros((height + SIDE - stride, width + SIDE - stride), np.float32)
    for y in range(SIDE):
        for x in range(SIDE):
            wrapped[y : y + height : stride, x : x + width : stride] += cells[:, :, y, x]
    beyond = SIDE - stride
    wrapped[:beyond] += wrapped[height:]
    wrapped[:, :beyond] += wrapped[:, width:]
    return np.asarray(wrapped[:height, :width] / (SIDE // stride) ** 2, np.float32)


_CHUNK = 1024
"""Patches whitened at once: with 100 components of 64 dimensions they take 26 MB."""


@dataclass(frozen=True)
class Mixture:
    """``G(x) = sum over k of weights[k] N(x; means[k], covariances[k])``.

    Attributes:
        weights: float32 (K,), above 0, with sum 1.
        means: float32 (K, D).
        covariances: float32 (K, D, D), symmetric.
    """

    weights: Array
    means: Array
    covariances: Array

    @property
    def parameters(self) -> int:
        """How many numbers it takes: weights, means and triangles of the covariances."""
        count, size = self.means.shape
        return int(count * (1 + size + size * (size + 1) // 2))

    @property
    def variance(self) -> float:
        """Mean over the dimensions of the expected square, in squared units of the patches."""
        squares = np.trace(self.covariances, axis1=1, axis2=2) + np.square(self.means).sum(axis=1)
        return float(self.weights @ squares / self.means.shape[1])

    @cached_property
    def _axes(self) -> tuple[Array, Array]:
        variances, axes = np.linalg.eigh(self.covariances.astype(np.float64))
        return np.maximum(variances, 0).astype(np.float32), axes.astype(np.float32)

    def log_joint(self, patches: Array, noise: float) -> Array:
        """Return ``log(weights[k] N(x; means[k], covariances[k] + noise I))``.

        Args:
            patches: float32 (N, D).
            noise: variance of the white noise in them, above 0, in squared units of the patches.

        Returns:
            float32 (N, K).
        """
        count, size = self.means.shape
        spread, axes = self._axes
        noisy = spread + np.float32(noise)
        whiten = axes / np.sqrt(noisy)[:, None, :]
        offset = np.einsum("kd,kde->ke", self.means, whiten).reshape(-1)
        flat = np.ascontiguousarray(whiten.transpose(1, 0, 2).reshape(size, -1))
        distances = np.empty((len(patches), count), np.float32)
        for start in range(0, len(patches), _CHUNK):
            white = patches[start : start + _CHUNK] @ flat
            white -= offset
            white = white.reshape(len(white), count, -1)
            np.einsum("nke,nke->nk", white, white, out=distances[start : start + _CHUNK])
        distances *= np.float32(-0.5)
        distances += (
            np.log(self.weights)
            - 0.5 * np.log(noisy).sum(axis=1)
            - np.float32(0.5 * size * math.log(2 * math.pi))
        )
        return distances

    def restore(self, patches: Array, noise: float) -> Array:
        """Take the noise out with the Wiener filter of each patch's likeliest component.

        ``means[k] + covariances[k] (covariances[k] + noise I)^-1 (x - means[k])``, as Zoran and
        Weiss 2011 (doi:10.1109/ICCV.2011.6126278) approximate the most probable patch. Arguments as
        :meth:`log_joint`; returns float32 (N, D).
        """
        spread, axes = self._axes
        wiener = np.einsum("kde,ke,kfe->kdf", axes, spread / (spread + np.float32(noise)), axes)
        likeliest = self.log_joint(patches, noise).argmax(axis=1)
        restored = np.empty_like(patches)
        for component in np.unique(likeliest):
            members = np.flatnonzero(likeliest == component)
            centred = patches[members] - self.means[component]
            restored[members] = centred @ wiener[component] + self.means[component]
        return restored


SHIPPED = Path(__file__).parent / "background.safetensors"
"""The background that ships: 100 components, of 60,000 patches of the clean training photographs of
BSDS500 and Rain800 without their means, by 20 steps of expectation and maximization."""
_KEY = "edge_derain.gmm"
_TENSORS = ("weights", "means", "covariances")


def load_background(path: str | Path = SHIPPED) -> Mixture:
    """Read a mixture of 8x8 patches.

    Raises:
        CheckpointError: a missing or torn file.
        DataError: another file.
    """
    tensors, metadata = load_tensors(path)
    shapes = [tuple(tensors.get(name, torch.empty(0)).shape) for name in _TENSORS]
    count, size = len(tensors.get("weights", ())), SIDE * SIDE
    if _KEY not in metadata or shapes != [(count,), (count, size), (count, size, size)]:
        raise DataError(f"{path}: no mixture of {SIDE}x{SIDE} patches; take it from a release")
    return Mixture(**{name: tensors[name].numpy() for name in _TENSORS})
