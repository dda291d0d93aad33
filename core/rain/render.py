"""Rainy pictures from clean ones and the ranges of a rain: light, veil, streaks and camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.rain.depth import Depth, ground_depth
from core.rain.real import Masks, mix_streaks
from core.rain.scene import CameraConfig, RenderConfig, draw_scene, streak_layers
from core.rain.streaks import draw_streaks

Picture = NDArray[np.uint8]
Pixels = NDArray[np.float32]
_LAYERS, _STREAKS, _MASKS, _AIRLIGHT, _CAMERA = range(5)  # random streams of a rain


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
    """Lay a veil over a picture, float32 (H, W, 3): ``A + (B - A) t`` (Koschmieder 1924)."""
    return np.asarray(airlight + (picture - airlight) * through, np.float32)


@dataclass(frozen=True, eq=False)
class Rendered:
    """A rainy picture and what it was made of.

    Attributes:
        rainy: uint8 (H, W, 3) RGB.
        clean: the same without rain, which is another picture than the given one by night alone.
        streaks: all streaks as they were laid, uint8 (H, W), clipped at white.
        transmission: of the veil, float32 (H, W) in (0, 1]; 1 everywhere without one.
        scene: the rain as it was drawn; rendered with the same seed it is the same.
    """

    rainy: Picture
    clean: Picture
    streaks: Picture
    transmission: NDArray[np.float32]
    scene: RenderConfig


def render(
    clean: Picture,
    rain: RenderConfig,
    seed: int,
    depth: Depth | None = None,
    masks: Masks = (),
    frame: float = 0.0,
) -> Rendered:
    """Rain on a picture.

    The order is: night; the veil of distant rain, ``t = exp(-beta d)``; streaks, dimmed by the veil
    before them and hidden by what is nearer than they are; white clips; the camera. Drops shine
    with what is around them, and with a sky of the airlight's colour (Garg and Nayar, Vision and
    Rain, 2007). The result depends on the arguments alone.

    Args:
        clean: uint8 (H, W, 3) RGB; of a clip, the frame.
        rain: ranges from which it is drawn.
        seed: of all that is drawn.
        depth: float32 (H, W) in metres; the ground prior of the rain where None.
        masks: streak pictures, uint8 (H, W) each; without any all streaks are drawn.
        frame: number of the frame in a clip, 0 or more. Every drop falls on from one to the next;
            the noise and the pieces of streak pictures are others.

    Raises:
        DataError: a depth of another size.
    """
    height, width = clean.shape[:2]
    scene = draw_scene(rain, np.random.default_rng(seed))
    if depth is None:
        depth = ground_depth(height, width, scene.horizon[0], scene.far[0])
    elif depth.shape != (height, width):
        raise DataError(
            f"depth is {depth.shape[1]}x{depth.shape[0]} but the picture is {width}x{height}"
        )
    extinction = scene.extinction[0] if scene.veil else 0.0
    streaks = _streaks(depth, scene, extinction, seed, masks, frame)
    picture: Pixels = cv2.LUT(clean, _LINEAR if scene.linear else _DISPLAY)  # type: ignore[assignment]
    if scene.night[0] != 1:
        picture = picture ** np.float32(scene.night[0])
        clean = to_levels(to_display(picture) if scene.linear else picture)
    tint = np.random.default_rng([seed, _AIRLIGHT]).uniform(-0.5, 0.5, 3) * scene.tint[0]
    airlight = np.clip(scene.airlight[0] + tint, 0, 1).astype(np.float32)
    if scene.linear:
        airlight = to_linear(airlight)
    through = np.asarray(np.exp(-np.float32(extinction) * depth), np.float32)
    if extinction:
        picture = fade(picture, through[..., None], airlight)
    light: Pixels | float = 1.0
    if scene.light[0]:
        near = cv2.stackBlur(picture, (max(height, width) // 8 | 1,) * 2)
        light = scene.light[0] * fade(np.asarray(near, np.float32), scene.around[0], airlight)
    picture = lay(picture, streaks, light, hides=bool(scene.screen or scene.light[0]))
    rng = np.random.default_rng([seed, _CAMERA, round(1000 * frame)])
    rainy = _photograph(picture, scene.camera, scene.linear, rng)
    return Rendered(rainy, clean, to_levels(streaks), through, scene)


def _streaks(
    depth: Depth, scene: RenderConfig, extinction: float, seed: int, masks: Masks, frame: float
) -> Pixels:
    height, width = depth.shape
    streaks = np.zeros((height, width), np.float32)
    masked = bool(len(masks) and scene.mask)
    layers = streak_layers(scene, np.random.default_rng([seed, _LAYERS]), first=int(masked))
    for index, layer in enumerate(layers):
        rng = np.random.default_rng([seed, _STREAKS, index])
        dimmed = np.float32(np.exp(-extinction * layer.depth))
        drawn = draw_streaks(height, width, layer, rng, frame / scene.shutter[0])
        # The edge of what is nearer is a fifth of the layer's depth wide.
        beyond = (depth - np.float32(layer.depth)) / np.float32(0.2 * layer.depth)
        streaks += drawn * np.asarray(np.clip(beyond + 0.5, 0, 1), np.float32) * dimmed
    if masked:
        rng = np.random.default_rng([seed, _MASKS, round(1000 * frame)])
        streaks += np.float32(scene.mask_strength[0]) * mix_streaks(masks, height, width, rng)
    return streaks


def _photograph(
    picture: Pixels, camera: CameraConfig, linear: bool, rng: np.random.Generator
) -> Picture:
    """Add noise (Poisson-Gaussian in its normal approximation, Foi et al. 2008) and JPEG."""
    if camera.noise:
        # In linear light the darkest is what the curve makes most of.
        read_noise = camera.read_noise[0] / (255 * 12.92 if linear else 255)
        variance = picture / np.float32(camera.photons[0]) + np.float32(read_noise**2)
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = np.asarray(picture + np.sqrt(variance) * noise, np.float32)
    levels = to_levels(to_display(np.maximum(picture, 0)) if linear else picture)
    return _jpeg(levels, round(camera.quality[0])) if camera.jpeg else levels


def _jpeg(picture: Picture, quality: int) -> Picture:
    """Encode as JPEG with halved chroma, as cameras do, and decode."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
