"""A Gaussian mixture of patches: its likelihood under noise, and the filter that follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError

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
