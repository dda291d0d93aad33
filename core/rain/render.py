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


def transmission(depth: Pixels, extinction: float) -> Pixels:
    """Share of the light that comes through: ``exp(-beta d)`` (Koschmieder 1924).

    Args:
        depth: float32 (H, W) in metres.
        extinction: beta, a metre.

    Returns:
        float32 (H, W) in (0, 1].
    """
    return np.asarray(np.exp(-np.float32(extinction) * depth), np.float32)


def lay_overcast(picture: Pixels, strength: float) -> Pixels:
    """Darken a picture and take contrast from it, as overcast light does.

    Args:
        picture: float32 (H, W, 3) in [0, 1].
        strength: s; pixels become ``(1 - s) (I + s mean(I))``, so contrast falls by s.

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    if not strength:
        return picture
    mean = picture.mean(dtype=np.float64)
    return np.asarray((1 - strength) * (picture + strength * mean), np.float32)


def lay_veil(picture: Pixels, through: Pixels, airlight: tuple[float, float, float]) -> Pixels:
    """Lay the veil of distant rain: ``I = B t + A (1 - t)`` (paper 1, eq. 8).

    Args:
        picture: B, float32 (H, W, 3) in [0, 1].
        through: t, float32 (H, W) in [0, 1].
        airlight: A, RGB in [0, 1].

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    grey = np.asarray(airlight, np.float32)
    return np.asarray(grey + (picture - grey) * through[..., None], np.float32)


def visible(depth: Pixels, layer_depth: float) -> Pixels:
    """Share of a layer that the scene leaves uncovered: 0 where nearer, 1 where farther, soft.

    Args:
        depth: of the scene, float32 (H, W) in metres.
        layer_depth: of the layer in metres; the edge is a fifth of it wide.

    Returns:
        float32 (H, W) in [0, 1].
    """
    beyond = (depth - np.float32(layer_depth)) / np.float32(0.2 * layer_depth)
    return np.asarray(np.clip(beyond + 0.5, 0, 1), np.float32)


def lay_streaks(picture: Pixels, streaks: Pixels, screen: bool) -> Pixels:
    """Lay streaks over a picture; highlights clip at white.

    Args:
        picture: I, float32 (H, W, 3) in [0, 1].
        streaks: S, float32 (H, W), 0 or more.
        screen: ``I + S (1 - I)`` with S up to 1, instead of ``I + S``.

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    light = streaks[..., None]
    if screen:
        light = np.minimum(light, 1) * (1 - picture)
    return np.asarray(np.minimum(picture + light, 1), np.float32)


def photograph(
    picture: NDArray[np.float32], camera: Camera, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Photograph a scene.

    Noise is Poisson-Gaussian in its normal approximation: a variance of ``signal / photons`` plus
    that of reading out (Foi et al. 2008).

    Args:
        picture: float32 (H, W, 3) RGB in [0, 1].
        camera: the effects; those at 0 are left out.
        rng: source of the noise, advanced only where there is noise.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    if camera.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), camera.blur), np.float32)
    if camera.photons or camera.read_noise:
        variance = np.full_like(picture, (camera.read_noise / 255) ** 2)
        if camera.photons:
            variance += picture / np.float32(camera.photons)
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = np.asarray(picture + np.sqrt(variance) * noise, np.float32)
    levels = np.clip(picture * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return jpeg(levels, camera.quality) if camera.quality else levels


def jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode as JPEG with halved chroma, as cameras do, and decode; uint8 (H, W, 3) RGB."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


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
