"""PSNR, SSIM and luma: the only definition of quality in this project.

Pictures are uint8 HWC RGB in 0..255 and everything is computed in float64 with peak 255. Quality
has two protocols that must never be mixed: ``rgb`` takes all channels, ``y`` the MATLAB luma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import MetricError

Protocol = Literal["rgb", "y"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

PEAK = 255.0
IDENTICAL_DB = 100.0
"""What a picture without any error counts in a mean; its own PSNR is infinite."""
_WINDOW = 11
_SIGMA = 1.5
_LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255.0
_LUMA_OFFSET = 16.0


@dataclass(frozen=True)
class Quality:
    """PSNR in dB, infinite for identical pictures, and SSIM in [-1, 1]."""

    psnr: float
    ssim: float


def counted_psnr(quality: Quality) -> float:
    """Return the PSNR in dB as it counts in a mean: at most ``IDENTICAL_DB``."""
    return min(quality.psnr, IDENTICAL_DB)


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the luma of ITU-R BT.601 in studio range, as MATLAB's ``rgb2ycbcr`` weighs it.

    ``16 + (65.481 R + 128.553 G + 24.966 B) / 255``. It is not rounded: MATLAB rounds when its
    input is uint8, most Python code of the field does not, and the difference stays under 0.01 dB
    at the qualities of interest.

    Args:
        rgb: HWC uint8 RGB in 0..255.

    Returns:
        HW float64 in 16..235.

    Raises:
        MetricError: Not an HWC uint8 array of three channels.
    """
    _check_picture(rgb, "rgb")
    return np.asarray(rgb @ _LUMA_WEIGHTS + _LUMA_OFFSET, dtype=np.float64)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8], protocol: Protocol = "rgb") -> float:
    """Return the peak signal-to-noise ratio in dB: ``10 log10(255² / mean squared error)``.

    Args:
        a: HWC uint8 RGB in 0..255.
        b: The same, of the same shape.
        protocol: ``'rgb'`` averages the error over all channels, ``'y'`` takes it on ``luma``.

    Returns:
        dB; infinity when the pictures are identical.

    Raises:
        MetricError: Shapes differ, a dtype or a number of channels is wrong, or the protocol is
            unknown.
    """
    first, second = _planes(a, b, protocol)
    error = float(np.mean(np.square(first - second)))
    return math.inf if error == 0 else 10.0 * math.log10(PEAK**2 / error)


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8], protocol: Protocol = "rgb") -> float:
    """Return the structural similarity of Wang et al. 2004 (doi:10.1109/TIP.2003.819861, eq. 13).

    Gaussian window of 11 x 11 with sigma 1.5, population covariance, K1 = 0.01, K2 = 0.03, no
    downsampling, mean over the positions where the window lies inside the picture. Agrees with
    ``skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255)``.

    Args:
        a: HWC uint8 RGB in 0..255, at least 11 pixels high and wide.
        b: The same, of the same shape.
        protocol: ``'rgb'`` averages over the three channels, ``'y'`` takes it on ``luma``.

    Returns:
        A number in [-1, 1]; 1 when the pictures are identical.

    Raises:
        MetricError: As ``psnr``, or a picture is smaller than the window.
    """
    first, second = _planes(a, b, protocol)
    if min(first.shape[:2]) < _WINDOW:
        height, width = first.shape[:2]
        raise MetricError(
            f"SSIM needs pictures of at least {_WINDOW} x {_WINDOW} pixels, got {width} x {height}"
        )
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_a, mean_b = _blur(first), _blur(second)
    variance_a = _blur(first * first) - mean_a * mean_a
    variance_b = _blur(second * second) - mean_b * mean_b
    covariance = _blur(first * second) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    scale = (mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2)
    return float(np.mean(likeness / scale))


def measure(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> dict[Protocol, Quality]:
    """Return PSNR and SSIM of two pictures under both protocols; arguments as ``ssim``."""
    return {p: Quality(psnr=psnr(a, b, p), ssim=ssim(a, b, p)) for p in PROTOCOLS}


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    margin = _WINDOW // 2
    offsets = np.arange(-margin, margin + 1, dtype=np.float64)
    taps = np.exp(-0.5 * np.square(offsets / _SIGMA))
    taps /= taps.sum()
    blurred = cv2.sepFilter2D(plane, cv2.CV_64F, taps, taps)
    return np.asarray(blurred[margin:-margin, margin:-margin], dtype=np.float64)


def _planes(
    a: NDArray[np.uint8], b: NDArray[np.uint8], protocol: Protocol
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if protocol not in PROTOCOLS:
        raise MetricError(f"protocol must be 'rgb' or 'y', got {protocol!r}")
    _check_picture(a, "a")
    _check_picture(b, "b")
    if a.shape != b.shape:
        raise MetricError(
            f"pictures must have one shape, got a {a.shape} and b {b.shape}; crop or resize one"
        )
    if protocol == "y":
        return luma(a), luma(b)
    return a.astype(np.float64), b.astype(np.float64)


def _check_picture(picture: Any, name: str) -> None:
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        found = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise MetricError(
            f"{name} must be a uint8 array, got {found}; "
            "quality is measured on rounded 8-bit pictures"
        )
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise MetricError(f"{name} must be HWC RGB with 3 channels, got shape {picture.shape}")
