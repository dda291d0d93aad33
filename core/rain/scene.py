"""One rain, completely: its parameters, drawn from ranges, kept as JSON and rendered again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.config import build_config, to_plain
from core.errors import ConfigError
from core.rain.config import Range, RenderConfig

MOST_DENSE = 0.05
"""Streaks a pixel beyond which a layer looks the same and only takes longer."""


@dataclass(frozen=True)
class StreakLayer:
    """One layer of streaks.

    Attributes:
        depth: metres; the layer is hidden by what is nearer.
        density: streaks a pixel.
        angle: mean direction in degrees from vertical, positive to the right going down.
        jitter: standard deviation of the directions in degrees.
        length: mean length in pixels.
        width: mean standard deviation across in pixels.
        strength: peak brightness before the veil, 1 is white.
        oscillation: ripples along a streak; 0 for drops that do not oscillate.
    """

    depth: float
    density: float
    angle: float
    jitter: float
    length: float
    width: float
    strength: float
    oscillation: float = 0.0


@dataclass(frozen=True)
class MaskLayer:
    """A streak picture laid over the scene.

    Attributes:
        name: stem of its file.
        strength: factor on its brightness.
        scale: factor on its size.
        top, left: where it is cut, as shares of what is left over.
        mirrored: left to right.
    """

    name: str
    strength: float
    scale: float
    top: float
    left: float
    mirrored: bool


@dataclass(frozen=True)
class Camera:
    """What the camera adds; every 0 is an absent effect.

    Attributes:
        blur: standard deviation of the defocus in pixels.
        photons: signal at white in photo-electrons.
        read_noise: standard deviation in levels of 0 to 255.
        quality: of the JPEG round trip, 1 to 100.
    """

    blur: float = 0.0
    photons: float = 0.0
    read_noise: float = 0.0
    quality: int = 0


@dataclass(frozen=True)
class RainScene:
    """The parameters of one rain. With the clean picture and its depth they give the rainy one.

    Attributes:
        seed: of streak positions and sensor noise.
        layers: streaks, near to far.
        mask: streak picture, if any.
        screen: screen instead of additive composition.
        extinction: beta a metre; 0 is no veil.
        airlight: RGB of the veil, 1 is white.
        horizon: of the ground prior, as a share of the height.
        far: of the ground prior, in metres.
        overcast: share of the contrast that is lost to overcast light.
        camera: noise, JPEG, defocus.
    """

    seed: int
    layers: tuple[StreakLayer, ...] = ()
    mask: MaskLayer | None = None
    screen: bool = False
    extinction: float = 0.0
    airlight: tuple[float, float, float] = (0.8, 0.8, 0.8)
    horizon: float = 0.4
    far: float = 50.0
    overcast: float = 0.0
    camera: Camera = dataclasses.field(default_factory=Camera)

    def to_json(self) -> str:
        """Serialise so that :meth:`from_json` returns an equal scene."""
        return json.dumps(to_plain(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RainScene:
        """Read what :meth:`to_json` wrote; raises ConfigError for anything else."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"scene: is not JSON ({error})") from error
        return build_config(cls, values, "scene")


def draw_scene(
    config: RenderConfig, rng: np.random.Generator, masks: Sequence[str] = ()
) -> RainScene:
    """Draw a scene.

    Args:
        config: the ranges.
        rng: source of all randomness, advanced.
        masks: stems of the streak pictures to choose from, if any.
    """

    def uniform(ends: Range) -> float:
        return float(rng.uniform(*ends))

    layers = _draw_layers(config, rng)
    mask = None
    if masks and rng.random() < config.mask:
        mask = MaskLayer(
            name=masks[int(rng.integers(len(masks)))],
            strength=uniform(config.mask_strength),
            scale=uniform((0.6, 1.4)),
            top=float(rng.random()),
            left=float(rng.random()),
            mirrored=bool(rng.random() < 0.5),
        )
    veil = bool(rng.random() < config.veil)
    grey, tint = uniform(config.airlight), uniform(config.tint)
    red, green, blue = (float(c) for c in np.clip(grey + rng.uniform(-0.5, 0.5, 3) * tint, 0, 1))
    return RainScene(
        seed=int(rng.integers(2**32)),
        layers=layers[1:] if mask else layers,
        mask=mask,
        screen=bool(rng.random() < config.screen),
        extinction=_log_uniform(rng, config.extinction) if veil else 0.0,
        airlight=(red, green, blue),
        horizon=uniform(config.horizon),
        far=uniform(config.far),
        overcast=uniform(config.overcast_strength) if rng.random() < config.overcast else 0.0,
        camera=_draw_camera(config, rng),
    )


def _log_uniform(rng: np.random.Generator, ends: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))


def _draw_layers(config: RenderConfig, rng: np.random.Generator) -> tuple[StreakLayer, ...]:
    """Streaks of one kind of rain, seen smaller, fainter and more of them the deeper they lie."""
    count = int(rng.integers(config.layers[0], config.layers[1] + 1))
    near, spacing = rng.uniform(*config.nearest), rng.uniform(*config.spacing)
    density, length = _log_uniform(rng, config.density), _log_uniform(rng, config.length)
    width, strength = rng.uniform(*config.width), rng.uniform(*config.strength)
    angle, jitter = rng.uniform(*config.angle), rng.uniform(*config.jitter)
    ripples = float(rng.uniform(1, 4)) if rng.random() < config.oscillation else 0.0
    layers = []
    for index in range(count):
        times = spacing**index
        layers.append(
            StreakLayer(
                depth=float(near * times),
                density=float(min(density * times**2, max(density, MOST_DENSE))),
                angle=float(angle),
                jitter=float(jitter),
                length=float(max(length / times, 1.0)),
                width=float(width / times),
                strength=float(strength / times**0.5),
                oscillation=ripples,
            )
        )
    return tuple(layers)


def _draw_camera(config: RenderConfig, rng: np.random.Generator) -> Camera:
    ranges = config.camera
    blurred, noisy, coded = rng.random(3) < (ranges.defocus, ranges.noise, ranges.jpeg)
    return Camera(
        blur=float(rng.uniform(*ranges.blur)) if blurred else 0.0,
        photons=_log_uniform(rng, ranges.photons) if noisy else 0.0,
        read_noise=float(rng.uniform(*ranges.read_noise)) if noisy else 0.0,
        quality=round(rng.uniform(*ranges.quality)) if coded else 0,
    )
