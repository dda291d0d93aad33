"""Rendered rain in the training mixture: the depth of whole pictures, a new rain for every crop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.config_errors import nearest
from core.errors import ConfigError
from core.pairs import Image, PairFile
from core.rain.config import PRESETS, RenderConfig
from core.rain.depth import Depth, find_depths, ground_depth, read_depth
from core.rain.masks import Masks, read_masks
from core.rain.render import render
from core.rain.scene import draw_scene


@dataclass(frozen=True)
class RenderedConfig:
    """How the ``rendered`` parts of the mixture are rained on.

    Attributes:
        preset: name of the ranges, a key of ``core.rain.config.PRESETS``.
        rain: own ranges in its place.
        depth: optional folder of depth pictures with the stems of the clean ones.
        streaks: optional folder of streak pictures, grey on black.
    """

    preset: str = "mixed"
    rain: RenderConfig | None = None
    depth: str = ""
    streaks: str = ""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(
                f"rendered.preset {self.preset!r}: unknown; {nearest(self.preset, PRESETS)}"
            )


class CropRenderer:
    """Rains on crops of pictures whose depth is known or assumed.

    Raises:
        DataError: a folder that is missing, empty or unreadable.
    """

    def __init__(self, config: RenderedConfig, data_root: str | Path, seed: int) -> None:
        base = Path(data_root)
        self._rain = config.rain or PRESETS[config.preset]
        self._seed = seed
        self._depths = find_depths(base / config.depth) if config.depth else {}
        self._masks: Masks = read_masks(base / config.streaks) if config.streaks else {}
        self._names = list(self._masks)

    def depth(self, file: PairFile, index: int, clean: Image) -> Depth:
        """Depth of picture ``index`` of its set: float32 (H, W) in metres, to be cropped with it.

        Without a file it is a ground prior, which takes memory for one column only.
        """
        height, width = clean.shape[:2]
        if file.clean.stem in self._depths:
            return read_depth(self._depths[file.clean.stem], height, width)
        rng = np.random.default_rng([self._seed, 0xDEE9, index])
        horizon, far = rng.uniform(*self._rain.horizon), rng.uniform(*self._rain.far)
        return ground_depth(height, width, float(horizon), float(far))

    def rain_on(self, clean: Image, depth: Depth, rng: np.random.Generator) -> Image:
        """Rain on a crop; uint8 (H, W, 3) RGB in and out."""
        scene = draw_scene(self._rain, rng, self._names)
        return render(clean, scene, depth, self._masks).rainy
