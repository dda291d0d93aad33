"""Rain of test sets, the same every time, and the streak layers that the first of them have.

Those layers are drawn by the recipe by which the field's synthetic sets were made (motion-blurred
noise; Zhang, Sindagi and Patel 2017; Yang et al. 2017), with every parameter drawn from a range.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, check_bounds
from core.rain.render import Picture, fade, lay, render, to_levels
from core.rain.scene import PRESETS, Preset, Range, RenderConfig, log_uniform


@dataclass(frozen=True)
class RainConfig:
    """Ranges from which one streak layer is drawn, uniformly unless said otherwise.

    A range whose ends are swapped or out of bounds raises ConfigError.

    Attributes:
        angle: direction in degrees from vertical; positive leans to the right going down.
        length: streak length in pixels, log-uniform.
        thickness: standard deviation of a streak's profile in pixels.
        density: share of pixels at which a streak starts, log-uniform.
        strength: brightness of the layer's 99th percentile, in [0, 1].
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


def _motion_kernel(length: float, angle: float, thickness: float) -> NDArray[np.float32]:
    """Kernel of one streak: a line with a Gaussian profile and soft ends, summing to 1."""
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
    kernel = _motion_kernel(length, angle, thickness)
    margin = kernel.shape[0] // 2
    shape = (height + 2 * margin, width + 2 * margin)
    starts = (rng.random(shape, dtype=np.float32) < density).astype(np.float32)
    starts *= rng.uniform(0.3, 1.0, shape).astype(np.float32)
    drops = cv2.filter2D(starts, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
    drops = drops[margin : margin + height, margin : margin + width]
    peak = max(float(np.percentile(drops, 99)), 0.0) or float(drops.max()) or 1.0
    if rng.random() < 0.5:  # thresholded noise: gaps between the streaks, as in "levels" edits
        floor = rng.uniform(0.0, 0.6) * peak
        drops, peak = np.maximum(drops - floor, 0), peak - floor
    return np.asarray(np.clip(drops / peak * strength, 0, 1) * 255 + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class FixedRain:
    """Rain that is drawn the same way every time, for test sets.

    Attributes:
        rain: ranges of one streak layer, which is added.
        layers: streak layers on every picture.
        veil: opacity of a veil of brightness 200 under the streaks.
        seed: picture ``i`` is rained on with the random state ``(seed, i)``.
        preset: render the rain of this name instead.
        ranges: render rain of these ranges instead, where there is no preset.
    """

    rain: RainConfig = field(default_factory=RainConfig)
    layers: int = 1
    veil: float = 0.0
    seed: int = 0
    preset: Preset | None = None
    ranges: RenderConfig | None = None

    def __post_init__(self) -> None:
        check_bounds(self, layers=0, seed=0, veil=(0, 1))
        if self.preset == "night" or (self.ranges and self.ranges.night[1] > 1):
            raise ConfigError("rain: night darkens the clean pictures too; use derain synthesize")

    def apply(self, clean: NDArray[np.uint8], index: int) -> Picture:
        """Rain on picture number ``index``; uint8 (H, W, 3) RGB in and out."""
        rng = np.random.default_rng([self.seed, index])
        if ranges := PRESETS[self.preset] if self.preset else self.ranges:
            return render(clean, ranges, int(rng.integers(2**32))).rainy
        picture = clean / np.float32(255)
        if self.veil:
            picture = fade(picture, 1 - self.veil, 200 / 255)
        for _ in range(self.layers):
            streaks = streak_layer(clean.shape[0], clean.shape[1], self.rain, rng)
            picture = lay(picture, streaks / np.float32(255), hides=False)
        return to_levels(picture)
