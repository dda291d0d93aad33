"""Rainy pictures from clean ones and the parameters of a rain: light, veil, streaks and camera.

Pixels are display values in [0, 1], as in the data sets of the field, which compose there too.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.rain.depth import Depth, ground_depth
from core.rain.scene import Camera, RainScene
from core.rain.streaks import Masks, cut_mask, draw_streaks

Pixels = NDArray[np.float32]
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

    The order is: overcast light, which turns pixels into ``(1 - s) (I + s mean(I))``; the veil of
    distant rain, ``I = B t + A (1 - t)`` with ``t = exp(-beta d)`` (Koschmieder 1924); streaks,
    dimmed by the veil before them and hidden by what is nearer than they are, as ``I + S`` or, for
    ``screen``, ``I + S (1 - I)``; white clips; the camera. The result depends on the arguments
    alone.

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
    picture: Pixels = clean / np.float32(255)
    if scene.overcast:
        grey = scene.overcast * picture.mean(dtype=np.float64)
        picture = np.asarray((1 - scene.overcast) * (picture + grey), np.float32)
    through = np.asarray(np.exp(-np.float32(scene.extinction) * depth), np.float32)
    if scene.extinction:
        airlight = np.asarray(scene.airlight, np.float32)
        picture = np.asarray(airlight + (picture - airlight) * through[..., None], np.float32)
    light = streaks[..., None]
    if scene.screen:
        light = np.minimum(light, 1) * (1 - picture)
    picture = np.asarray(np.minimum(picture + light, 1), np.float32)
    rainy = _photograph(picture, scene.camera, np.random.default_rng([scene.seed, _CAMERA]))
    levels = np.minimum(streaks * 255 + np.float32(0.5), 255).astype(np.uint8)
    return Rendered(rainy, levels, through, scene)


def _streaks(depth: Depth, scene: RainScene, masks: Masks) -> Pixels:
    height, width = depth.shape
    streaks = np.zeros((height, width), np.float32)
    for index, layer in enumerate(scene.layers):
        rng = np.random.default_rng([scene.seed, _STREAKS, index])
        dimmed = np.float32(np.exp(-scene.extinction * layer.depth))
        drawn = draw_streaks(height, width, layer, rng)
        # The edge of what is nearer is a fifth of the layer's depth wide.
        beyond = (depth - np.float32(layer.depth)) / np.float32(0.2 * layer.depth)
        streaks += drawn * np.asarray(np.clip(beyond + 0.5, 0, 1), np.float32) * dimmed
    if scene.mask is not None:
        streaks += cut_mask(scene.mask, masks, height, width)
    return streaks


def _photograph(picture: Pixels, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add blur, noise (Poisson-Gaussian in its normal approximation, Foi et al. 2008) and JPEG."""
    if camera.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), camera.blur), np.float32)
    if camera.photons or camera.read_noise:
        variance = np.full_like(picture, (camera.read_noise / 255) ** 2)
        if camera.photons:
            variance += picture / np.float32(camera.photons)
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = np.asarray(picture + np.sqrt(variance) * noise, np.float32)
    levels = np.clip(picture * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return _jpeg(levels, camera.quality) if camera.quality else levels


def _jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode as JPEG with halved chroma, as cameras do, and decode."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
