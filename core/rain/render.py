"""Rainy pictures from clean ones and the parameters of a rain: light, veil, streaks and camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.rain.depth import Depth, ground_depth
from core.rain.real import Masks, cut_mask
from core.rain.scene import Camera, RainScene
from core.rain.streaks import draw_streaks

Picture = NDArray[np.uint8]
Pixels = NDArray[np.float32]
_STREAKS, _CAMERA = 0, 1  # random streams of a scene: a new layer leaves the noise as it was


def to_linear(display: NDArray[np.floating]) -> Pixels:
    """Turn display values in [0, 1] into linear light by the sRGB curve."""
    curved = ((display + 0.055) / 1.055) ** 2.4
    return np.where(display <= 0.04045, display / 12.92, curved).astype(np.float32)


def to_display(linear: Pixels) -> Pixels:
    """Turn linear light, 0 or more, into display values by the sRGB curve."""
    curved = 1.055 * linear ** np.float32(1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved).astype(np.float32)


_DISPLAY = np.arange(256, dtype=np.float32) / np.float32(255)
_LINEAR = to_linear(_DISPLAY.astype(np.float64))


def to_levels(display: Pixels) -> Picture:
    """Round display values to levels of 8 bits."""
    return np.asarray(np.clip(display * 255 + np.float32(0.5), 0, 255), np.uint8)


def lay(
    picture: Pixels, opacity: Pixels, light: Pixels | float = 1.0, hides: bool = True
) -> Pixels:
    """Lay streaks over a picture: ``B + a (L - B)``, or ``B + a L`` where they hide nothing.

    With white light that is screening and adding, as the data sets of the field compose.

    Args:
        picture: float32 (H, W, 3), 1 is white.
        opacity: ``a`` of the streaks, float32 (H, W), 0 or more.
        light: ``L``; a number, or as the picture.
        hides: whether streaks hide what is behind them.

    Returns:
        float32 (H, W, 3), clipped at white.
    """
    over = np.minimum(opacity, 1)[..., None] * (light - picture) if hides else opacity[..., None]
    return np.asarray(np.minimum(picture + over, 1), np.float32)


def fade(picture: Pixels, through: Pixels | float, airlight: Pixels | float) -> Pixels:
    """Lay a veil over a picture, ``A + (B - A) t`` (Koschmieder 1924).

    Args:
        picture: float32 (H, W, 3), 1 is white.
        through: its transmission ``t``; a number, or float32 (H, W, 1).
        airlight: ``A``; a number, or float32 (3,).
    """
    return np.asarray(airlight + (picture - airlight) * through, np.float32)


@dataclass(frozen=True, eq=False)
class Rendered:
    """A rainy picture and what it was made of.

    Attributes:
        rainy: uint8 (H, W, 3) RGB.
        clean: the same without rain, which is another picture than the given one by night alone.
        streaks: all streaks as they were laid, uint8 (H, W), clipped at white.
        transmission: of the veil, float32 (H, W) in (0, 1]; 1 everywhere without one.
        scene: the parameters.
    """

    rainy: Picture
    clean: Picture
    streaks: Picture
    transmission: NDArray[np.float32]
    scene: RainScene


def render(
    clean: Picture,
    scene: RainScene,
    depth: Depth | None = None,
    masks: Masks | None = None,
    frame: float = 0.0,
) -> Rendered:
    """Rain on a picture.

    The order is: night; the veil of distant rain, ``t = exp(-beta d)``; streaks, dimmed by the veil
    before them and hidden by what is nearer than they are; white clips; the camera. Drops shine
    with what is around them, and with a sky of the airlight's colour (Garg and Nayar, Vision and
    Rain, 2007). The result depends on the arguments alone.

    Args:
        clean: uint8 (H, W, 3) RGB; of a clip, the frame.
        scene: the parameters.
        depth: float32 (H, W) in metres; the ground prior of the scene where None.
        masks: streak pictures by name, needed where the scene has one.
        frame: number of the frame in a clip, 0 or more. Every drop falls on from one to the next;
            the noise and the streak pictures are others.

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
    streaks = _streaks(depth, scene, masks or {}, frame)
    picture: Pixels = cv2.LUT(clean, _LINEAR if scene.linear else _DISPLAY)  # type: ignore[assignment]
    if scene.night != 1:
        picture = picture ** np.float32(scene.night)
        clean = to_levels(to_display(picture) if scene.linear else picture)
    airlight = np.asarray(scene.airlight, np.float32)
    if scene.linear:
        airlight = to_linear(airlight)
    through = np.asarray(np.exp(-np.float32(scene.extinction) * depth), np.float32)
    if scene.extinction:
        picture = fade(picture, through[..., None], airlight)
    light: Pixels | float = 1.0
    if scene.light:
        near = cv2.stackBlur(picture, (max(height, width) // 8 | 1,) * 2)
        light = scene.light * fade(np.asarray(near, np.float32), scene.around, airlight)
    picture = lay(picture, streaks, light, hides=scene.screen or bool(scene.light))
    rng = np.random.default_rng([scene.seed, _CAMERA, round(1000 * frame)])
    rainy = _photograph(picture, scene.camera, scene.linear, rng)
    return Rendered(rainy, clean, to_levels(streaks), through, scene)


def _streaks(depth: Depth, scene: RainScene, masks: Masks, frame: float) -> Pixels:
    height, width = depth.shape
    streaks = np.zeros((height, width), np.float32)
    for index, layer in enumerate(scene.layers):
        rng = np.random.default_rng([scene.seed, _STREAKS, index])
        dimmed = np.float32(np.exp(-scene.extinction * layer.depth))
        drawn = draw_streaks(height, width, layer, rng, frame / scene.shutter)
        # The edge of what is nearer is a fifth of the layer's depth wide.
        beyond = (depth - np.float32(layer.depth)) / np.float32(0.2 * layer.depth)
        streaks += drawn * np.asarray(np.clip(beyond + 0.5, 0, 1), np.float32) * dimmed
    for mask in scene.masks:
        streaks += cut_mask(mask, masks, height, width, frame)
    return streaks


def _photograph(picture: Pixels, camera: Camera, linear: bool, rng: np.random.Generator) -> Picture:
    """Add blur, noise (Poisson-Gaussian in its normal approximation, Foi et al. 2008) and JPEG."""
    if camera.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), camera.blur), np.float32)
    if camera.photons or camera.read_noise:
        # In linear light the darkest is what the curve makes most of.
        read_noise = camera.read_noise / (255 * 12.92 if linear else 255)
        variance = np.full_like(picture, read_noise**2)
        if camera.photons:
            variance += picture / np.float32(camera.photons)
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = np.asarray(picture + np.sqrt(variance) * noise, np.float32)
    levels = to_levels(to_display(np.maximum(picture, 0)) if linear else picture)
    return _jpeg(levels, camera.quality) if camera.quality else levels


def _jpeg(picture: Picture, quality: int) -> Picture:
    """Encode as JPEG with halved chroma, as cameras do, and decode."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
