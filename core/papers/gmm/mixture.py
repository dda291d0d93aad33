"""Gaussian mixtures of 8x8 patches: the patches, likelihood under noise and its filter, files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.checkpoint import load_tensors, save_tensors
from core.errors import DataError

SIDE = 8
"""Height and width of a patch."""
Plane = NDArray[np.float32]


def extract(plane: Plane, stride: int) -> tuple[Plane, Plane]:
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


def average(patches: Plane, shape: tuple[int, int], stride: int) -> Plane:
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


Array = NDArray[np.float32]
_CHUNK = 1024
"""Patches whitened at once: with 100 components of 64 dimensions they take 26 MB."""


@dataclass(frozen=True)
class Mixture:
    """``G(x) = sum over k of weights[k] N(x; means[k], covariances[k])``.

    Attributes:
        weights: float32 (K,), above 0, with sum 1.
        means: float32 (K, D).
        covariances: float32 (K, D, D), symmetric.

    Raises:
        DataError: shapes that do not fit, or numbers that are none of a mixture.
    """

    weights: Array
    means: Array
    covariances: Array

    def __post_init__(self) -> None:
        count, size = self.means.shape if self.means.ndim == 2 else (-1, -1)
        if self.weights.shape != (count,) or self.covariances.shape != (count, size, size):
            raise DataError(
                f"mixture: weights {self.weights.shape}, means {self.means.shape} and covariances "
                f"{self.covariances.shape} do not fit (K), (K, D) and (K, D, D); learn it again"
            )
        finite = all(np.isfinite(v).all() for v in (self.weights, self.means, self.covariances))
        if not finite or self.weights.min() <= 0:
            raise DataError("mixture: not finite, or a weight that is not above 0; learn it again")

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

    def under_noise(self, variance: float) -> NoisyMixture:
        """Return the mixture of patches to which white noise of ``variance`` was added."""
        return NoisyMixture(self, variance)

    def _spread(self, variance: float) -> tuple[Array, Array, Array]:
        spread, axes = self._axes
        return spread, axes, spread + np.float32(variance)


class NoisyMixture:
    """Patches of a mixture with white noise.

    Args:
        mixture: of the patches.
        variance: of the noise, above 0, in squared units of the patches.
    """

    def __init__(self, mixture: Mixture, variance: float) -> None:
        spread, axes, noisy = mixture._spread(variance)
        self._means = mixture.means
        size = mixture.means.shape[1]
        whiten = axes / np.sqrt(noisy)[:, None, :]
        self._whiten = np.ascontiguousarray(whiten.transpose(1, 0, 2).reshape(size, -1))
        self._offset = np.einsum("kd,kde->ke", mixture.means, whiten).reshape(-1)
        self._constant = (
            np.log(mixture.weights)
            - 0.5 * np.log(noisy).sum(axis=1)
            - np.float32(0.5 * size * math.log(2 * math.pi))
        )
        self._wiener = np.einsum("kde,ke,kfe->kdf", axes, spread / noisy, axes)

    def log_joint(self, patches: Array) -> Array:
        """Return ``log(weights[k] N(x; means[k], covariances[k] + variance I))``.

        Args:
            patches: float32 (N, D).

        Returns:
            float32 (N, K).
        """
        count = len(self._constant)
        distances = np.empty((len(patches), count), np.float32)
        for start in range(0, len(patches), _CHUNK):
            white = patches[start : start + _CHUNK] @ self._whiten
            white -= self._offset
            white = white.reshape(len(white), count, -1)
            np.einsum("nke,nke->nk", white, white, out=distances[start : start + _CHUNK])
        distances *= np.float32(-0.5)
        distances += self._constant
        return distances

    def restore(self, patches: Array) -> Array:
        """Take the noise out with the Wiener filter of each patch's likeliest component.

        ``means[k] + covariances[k] (covariances[k] + variance I)^-1 (x - means[k])``, as Zoran and
        Weiss 2011 (doi:10.1109/ICCV.2011.6126278) approximate the most probable patch.

        Args:
            patches: float32 (N, D).

        Returns:
            float32 (N, D).
        """
        likeliest = self.log_joint(patches).argmax(axis=1)
        restored = np.empty_like(patches)
        for component in np.unique(likeliest):
            members = np.flatnonzero(likeliest == component)
            centred = patches[members] - self._means[component]
            restored[members] = centred @ self._wiener[component] + self._means[component]
        return restored


SHIPPED = Path(__file__).parent / "background.safetensors"
"""The background that ships; ``configs/papers/gmm_prior.yaml`` makes it."""
_KEY = "edge_derain.gmm"
_TENSORS = ("weights", "means", "covariances")


def save_mixture(path: str | Path, mixture: Mixture, origin: Mapping[str, Any]) -> None:
    """Write a mixture atomically, with what it was learned from as values that JSON can hold.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    tensors = {name: torch.from_numpy(getattr(mixture, name)) for name in _TENSORS}
    save_tensors(path, tensors, {_KEY: json.dumps(dict(origin))})


def load_background(path: str | Path = SHIPPED) -> Mixture:
    """Read a mixture of 8x8 patches.

    Raises:
        CheckpointError: a missing or torn file.
        DataError: another file, or a mixture of other patches.
    """
    tensors, metadata = load_tensors(path)
    if _KEY not in metadata or set(tensors) != set(_TENSORS):
        raise DataError(f"{path}: no background mixture; make one with: derain gmm-prior -o {path}")
    mixture = Mixture(**{name: tensor.numpy() for name, tensor in tensors.items()})
    if mixture.means.shape[1] != SIDE * SIDE:
        raise DataError(
            f"{path}: patches of {mixture.means.shape[1]} pixels, and {SIDE}x{SIDE} are needed; "
            f"make it again with: derain gmm-prior -o {path}"
        )
    return mixture
