"""Rain without depth: streak layers drawn as motion-blurred noise, and the rain of another pair.

Drawing is the recipe by which the field's synthetic sets were made (noise, motion blur, blending;
Zhang, Sindagi and Patel 2017; Yang et al. 2017), with every parameter drawn from a range.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import check_bounds
from core.rain.scene import Range, log_uniform


@dataclass(frozen=True)
class RainConfig:
    """Ranges from which one streak layer is drawn, uniformly unless said otherwise.

    Attributes:
        angle: direction in degrees from vertical; positive leans to the right going down.
        length: streak length in pixels, log-uniform.
        thickness: standard deviation of a streak's profile in pixels.
        density: share of pixels at which a streak starts, log-uniform.
        strength: brightness of the layer's 99th percentile, in [0, 1].

    Raises:
        ConfigError: a range whose ends are swapped or out of bounds.
    """

    angle: Range = (-35.0, 35.0)
    length: Range = (5.0, 60.0)
    thickness: Range = (0.3, 1.3)
    density: Range = (0.0005, 0.02)
    strength: Range = (0.1, 0.8)

    def __post_init__(self) -> None:
        check_bounds(self, "rain.", angle=(-90, 90), length=(1, 500), thickness=(0.1, 10))
        check_bounds(self, "rain.", density=(1e-5, 1), strength=(0, 1))


BROAD = RainConfig(length=(10.0, 120.0), thickness=(1.2, 3.0), density=(0.0003, 0.01))
"""Near drops out of focus: broad, soft streaks."""


def motion_kernel(length: float, angle: float, thickness: float) -> NDArray[np.float32]:
    """Kernel of one streak: a line with a Gaussian profile and soft ends, summing to 1.

    Args:
        length: pixels from end to end.
        angle: degrees from vertical.
        thickness: standard deviation across the line, in pixels.

    Returns:
        float32 (K, K) with odd K, just large enough.
    """
    radius = int(np.ceil(length / 2 + 3 * thickness))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    theta = np.deg2rad(angle)
    along = x * np.sin(theta) + y * np.cos(theta)
    across = x * np.cos(theta) - y * np.sin(theta)
    beyond = np.maximum(np.abs(along) - length / 2, 0.0)
    kernel = np.exp(-(across**2 + beyond**2) / (2 * max(thickness, 0.3) ** 2))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def streak_layer(
    height: int, width: int, config: RainConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw one layer of parallel streaks.

    Returns:
        uint8 (height, width), 0 where there is no rain.
    """
    length, density = log_uniform(rng, config.length), log_uniform(rng, config.density)
    angle, thickness = rng.uniform(*config.angle), rng.uniform(*config.thickness)
    strength = rng.uniform(*config.strength)
    kernel = motion_kernel(length, angle, thickness)
    margin = kernel.shape[0] // 2
    shape = (height + 2 * margin, width + 2 * margin)
    starts = (rng.random(shape, dtype=np.float32) < density).astype(np.float32)
    starts *= rng.uniform(0.3, 1.0, shape).astype(np.float32)
    drops = cv2.filter2D(starts, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
    drops = drops[margin : margin + height, margin : margin + width]
    peak = float(np.percentile(drops, 99))
    if peak <= 0:
        peak = float(drops.max()) or 1.0
    if rng.random() < 0.5:  # thresholded noise: gaps between the streaks, as in "levels" edits
        floor = rng.uniform(0.0, 0.6) * peak
        drops, peak = np.maximum(drops - floor, 0), peak - floor
    return np.asarray(np.clip(drops / peak * strength, 0, 1) * 255 + 0.5).astype(np.uint8)


def lay_rain(
    clean: NDArray[np.uint8], streaks: NDArray[np.uint8], screen: bool = False
) -> NDArray[np.uint8]:
    """Lay a streak layer over a clean picture.

    Args:
        clean: uint8 (H, W, 3) RGB.
        streaks: uint8 (H, W).
        screen: ``1 - (1 - clean)(1 - streaks)`` instead of the additive ``clean + streaks``.

    Returns:
        rainy: uint8 (H, W, 3) RGB, clipped at white.
    """
    layer = streaks[..., None].astype(np.uint16)
    base = clean.astype(np.uint16)
    if screen:
        layer = (layer * (255 - base) + 127) // 255
    return np.asarray(np.minimum(base + layer, 255), dtype=np.uint8)


def lay_veil(rainy: NDArray[np.uint8], opacity: float, grey: float) -> NDArray[np.uint8]:
    """Fade a picture towards a grey, as the mist of distant drops does.

    Args:
        rainy: uint8 (H, W, 3) RGB.
        opacity: 0 (nothing changes) to 1 (only grey is left).
        grey: the veil's brightness, 0 to 255.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    faded = rainy * (1 - opacity) + grey * opacity
    return np.asarray(np.clip(faded + 0.5, 0, 255), dtype=np.uint8)


@dataclass(frozen=True)
class FixedRain:
    """Rain that is drawn the same way every time, for test sets.

    Attributes:
        rain: ranges of one streak layer.
        layers: streak layers on every picture.
        veil: opacity of a veil of brightness 200 under the streaks.
        seed: picture ``i`` is rained on with the random state ``(seed, i)``.
    """

    rain: RainConfig = field(default_factory=RainConfig)
    layers: int = 1
    veil: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, layers=0, seed=0, veil=(0, 1))

    def apply(self, clean: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """Rain on picture number ``index``; uint8 (H, W, 3) RGB in and out."""
        rng = np.random.default_rng([self.seed, index])
        height, width = clean.shape[:2]
        rainy = lay_veil(clean, self.veil, 200.0) if self.veil else clean
        for _ in range(self.layers):
            rainy = lay_rain(rainy, streak_layer(height, width, self.rain, rng))
        return rainy


_ROOM = 48.0
"""Levels below white under which a lender is too bright to say how strong its rain is."""


def borrow_rain(
    clean: NDArray[np.uint8],
    lender_rainy: NDArray[np.uint8],
    lender_clean: NDArray[np.uint8],
    screen: bool,
) -> NDArray[np.uint8]:
    """Lay the rain of another pair over a picture.

    Args:
        clean: uint8 (H, W, 3) RGB.
        lender_rainy: the other pair, of the same shape.
        lender_clean: likewise.
        screen: take the rain for a share of the way to white, ``(rainy - clean) / (1 - clean)``,
            which bright backgrounds hide; otherwise for a light that is added.

    Returns:
        rainy: uint8 (H, W, 3) RGB, clipped to black and white.
    """
    added = lender_rainy.astype(np.float32) - lender_clean
    if screen:
        room = np.float32(255) - lender_clean
        added *= (np.float32(255) - clean) / np.maximum(room, np.float32(_ROOM))
    return np.asarray(np.clip(np.rint(clean + added), 0, 255), dtype=np.uint8)
