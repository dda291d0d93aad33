"""From a clean picture and the parameters of a rain to the rainy picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.rain.camera import photograph
from core.rain.compose import lay_overcast, lay_streaks, lay_veil, transmission, visible
from core.rain.depth import Depth, ground_depth
from core.rain.masks import Masks, cut_mask
from core.rain.scene import RainScene
from core.rain.streaks import draw_streaks

_STREAKS, _CAMERA = 0, 1  # random streams of a scene: a new layer leaves the noise as it was


@dataclass(frozen=True, eq=False)
class Rendered:
    """A rainy picture and what it was made of.

    Attributes:
        rainy: uint8 (H, W, 3) RGB.
        streaks: all streaks as they were laid, uint8 (H, W), clipped at white.
        transmission: of the veil, float32 (H, W) in (0, 1]; 1 everywhere without one.
        scene: the parameters.
    """

    rainy: NDArray[np.uint8]
    streaks: NDArray[np.uint8]
    transmission: NDArray[np.float32]
    scene: RainScene


def render(
    clean: NDArray[np.uint8],
    scene: RainScene,
    depth: Depth | None = None,
    masks: Masks | None = None,
) -> Rendered:
    """Rain on a picture (paper 1, eq. 8 and section C).

    The order is: overcast light, veil, streaks (dimmed by the veil before them and hidden by what
    is nearer than they are), white clips, camera. The result depends on the arguments alone.

    Args:
        clean: uint8 (H, W, 3) RGB.
        scene: the parameters.
        depth: float32 (H, W) in metres; the ground prior of the scene where None.
        masks: streak pictures by name, needed where the scene has one.

    Raises:
        DataError: a depth of another size, or a streak picture that is not there.
    """
    height, width = clean.shape[:2]
    if depth is None:
        depth = ground_depth(height, width, scene.horizon, scene.far)
    elif depth.shape != (height, width):
        raise DataError(
            f"depth is {depth.shape[1]}x{depth.shape[0]} but the picture is {width}x{height}"
        )
    streaks = _streaks(depth, scene, masks or {})
    picture = lay_overcast(clean / np.float32(255), scene.overcast)
    through = transmission(depth, scene.extinction)
    if scene.extinction:
        picture = lay_veil(picture, through, scene.airlight)
    picture = lay_streaks(picture, streaks, scene.screen)
    rainy = photograph(picture, scene.camera, np.random.default_rng([scene.seed, _CAMERA]))
    levels = np.minimum(streaks * 255 + np.float32(0.5), 255).astype(np.uint8)
    return Rendered(rainy, levels, through, scene)


def _streaks(depth: Depth, scene: RainScene, masks: Masks) -> NDArray[np.float32]:
    height, width = depth.shape
    streaks = np.zeros((height, width), np.float32)
    for index, layer in enumerate(scene.layers):
        rng = np.random.default_rng([scene.seed, _STREAKS, index])
        dimmed = np.float32(np.exp(-scene.extinction * layer.depth))
        drawn = draw_streaks(height, width, layer, rng)
        streaks += drawn * visible(depth, layer.depth) * dimmed
    if scene.mask is not None:
        streaks += cut_mask(scene.mask, masks, height, width)
    return streaks
