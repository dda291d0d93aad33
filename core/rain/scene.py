"""Rain scenes: ranges of the parameters and presets of them, one rain drawn from them, its JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np

from core.config import build_config
from core.errors import ConfigError, check_bounds
from edge_runtime.models.records import to_json

Range = tuple[float, float]
_UNIT = (0.0, 1.0)
GOLDEN = (5**0.5 - 1) / 2
"""Steps of this share of a range come near no place again soon."""


@dataclass(frozen=True)
class CameraConfig:
    """What the camera does to a picture, each with its own probability.

    Attributes:
        noise: probability of sensor noise.
        photons: signal at white in photo-electrons, log-uniform; fewer are noisier.
        read_noise: standard deviation in levels of 0 to 255, whatever the signal.
        jpeg: probability of a JPEG round trip.
        quality: range of the JPEG quality.
        defocus: probability of a slight blur of the whole picture.
        blur: standard deviation of that blur in pixels.

    Raises:
        ConfigError: a range or probability out of bounds.
    """

    noise: float = 0.3
    photons: Range = (1000.0, 20000.0)
    read_noise: Range = (0.0, 1.5)
    jpeg: float = 0.4
    quality: Range = (70.0, 98.0)
    defocus: float = 0.0
    blur: Range = (0.2, 0.6)

    def __post_init__(self) -> None:
        check_bounds(self, "camera.", noise=_UNIT, jpeg=_UNIT, defocus=_UNIT, photons=(10, 1e6))
        check_bounds(self, "camera.", read_noise=(0, 50), quality=(1, 100), blur=(0, 10))


@dataclass(frozen=True)
class RenderConfig:
    """Ranges from which a scene is drawn: uniformly, or log-uniformly where said.

    Attributes:
        layers: least and most streak layers.
        nearest: depth of the nearest layer in metres.
        spacing: how many times as deep each further layer lies.
        density: streaks a pixel in the nearest layer, log-uniform; grows with depth squared.
        angle: degrees from vertical; positive leans to the right going down.
        jitter: standard deviation of single streaks' directions around it, in degrees.
        length: pixels that the nearest drops fall during the exposure, log-uniform.
        width: standard deviation across the nearest streaks in pixels.
        strength: peak brightness of the nearest streaks, 1 is white; with ``light`` a factor on
            their opacity, which is that of a drop that covers a point while it passes.
        oscillation: probability that the drops oscillate while they fall.
        spread: standard deviation of the layers' directions around ``angle``, in degrees.
        blur: standard deviation of the nearest layer's defocus in pixels; less the deeper.
        shutter: share of the time between two frames during which the shutter is open.
        linear: compose in linear light, with the camera's curve (sRGB) after it, instead of in
            display values as the data sets of the field do.
        light: brightness of the drops, 1 is white and an overcast sky more; they are half
            transparent then. 0: streaks are added, or screened, as the data sets of the field do.
        around: share of that light that is the blurred surroundings, not sky of the veil's colour.
        night: exponent on the light of the scene; 1 is day, of 3 little but lamps is left.
        screen: probability of screen instead of additive composition.
        mask: probability that a streak picture takes the place of the nearest layer.
        mask_strength: factor on the brightness of such a picture.
        veil: probability of a veil.
        extinction: beta in ``exp(-beta d)``, a metre, log-uniform.
        airlight: brightness of the veil, 1 is white.
        tint: largest difference between the airlight's channels.
        horizon: row of the horizon as a share of the height, where no depth is known.
        far: depth of the sky in metres, where no depth is known.
        camera: noise, JPEG and defocus.

    Raises:
        ConfigError: a range or probability out of bounds.
    """

    layers: tuple[int, int] = (1, 4)
    nearest: Range = (0.8, 2.5)
    spacing: Range = (1.3, 1.9)
    density: Range = (0.0005, 0.004)
    angle: Range = (-35.0, 35.0)
    jitter: Range = (0.0, 3.0)
    length: Range = (12.0, 90.0)
    width: Range = (0.4, 1.1)
    strength: Range = (0.25, 0.9)
    oscillation: float = 0.2
    spread: Range = (0.0, 0.0)
    blur: Range = (0.0, 0.0)
    shutter: Range = (0.5, 0.5)
    linear: bool = False
    light: Range = (0.0, 0.0)
    around: Range = (0.0, 0.0)
    night: Range = (1.0, 1.0)
    screen: float = 0.3
    mask: float = 0.25
    mask_strength: Range = (0.5, 1.3)
    veil: float = 0.4
    extinction: Range = (0.002, 0.03)
    airlight: Range = (0.6, 0.95)
    tint: Range = (0.0, 0.04)
    horizon: Range = (0.1, 0.6)
    far: Range = (15.0, 80.0)
    camera: CameraConfig = field(default_factory=CameraConfig)

    RETIRED: ClassVar = {"overcast": 0.0, "overcast_strength": [0.05, 0.2]}

    def __post_init__(self) -> None:
        shares = ("oscillation", "screen", "mask", "veil")
        units = ("strength", "airlight", "tint", "around")
        check_bounds(
            self,
            "rain.",
            **dict.fromkeys(shares + units, _UNIT),
            layers=(0, 8),
            nearest=(0.1, 1000),
            spacing=(1, 100),
            density=(1e-6, 1),
            angle=(-90, 90),
            jitter=(0, 45),
            length=(1, 500),
            width=(0.1, 10),
            spread=(0, 45),
            blur=(0, 20),
            shutter=(0.01, 1),
            light=(0, 100),
            night=(1, 10),
            mask_strength=(0, 10),
            extinction=(1e-6, 10),
            horizon=(-1, 2),
            far=(0.1, 10000),
        )


Preset = Literal["light", "heavy", "veil", "mixed", "sparse", "specks", "night"]
PRESETS: Mapping[Preset, RenderConfig] = MappingProxyType(
    {
        "light": RenderConfig(
            layers=(1, 3),
            density=(0.0008, 0.0025),
            length=(15.0, 50.0),
            width=(0.4, 0.9),
            strength=(0.3, 0.8),
            veil=0.2,
            extinction=(0.001, 0.004),
            mask=0.2,
        ),
        "heavy": RenderConfig(
            layers=(2, 4),
            density=(0.0012, 0.0032),
            length=(40.0, 110.0),
            width=(0.6, 1.1),
            strength=(0.5, 0.9),
            veil=0.3,
            extinction=(0.001, 0.008),
        ),
        "veil": RenderConfig(
            layers=(2, 4),
            density=(0.0005, 0.003),
            length=(10.0, 50.0),
            strength=(0.2, 0.6),
            veil=1.0,
            extinction=(0.008, 0.03),
        ),
        "mixed": RenderConfig(),
        "sparse": RenderConfig(
            layers=(1, 2),
            density=(0.0003, 0.0007),
            angle=(-20.0, 20.0),
            length=(12.0, 45.0),
            width=(0.6, 1.1),
            strength=(0.7, 1.0),
            spread=(0.0, 2.0),
            blur=(0.0, 0.5),
            linear=True,
            light=(6.0, 11.0),
            around=(0.0, 0.5),
            mask=0.0,
            veil=0.0,
        ),
        "specks": RenderConfig(
            layers=(1, 2),
            density=(0.001, 0.002),
            length=(1.0, 3.0),
            width=(0.8, 1.6),
            strength=(0.5, 1.0),
            linear=True,
            light=(1.2, 2.0),
            around=(0.0, 0.3),
            mask=0.0,
            veil=0.0,
        ),
        "night": RenderConfig(
            layers=(2, 4),
            length=(20.0, 90.0),
            width=(0.5, 1.1),
            blur=(0.0, 1.0),
            linear=True,
            light=(10.0, 30.0),
            around=(0.97, 1.0),
            night=(2.0, 3.0),
            airlight=(0.02, 0.1),
            extinction=(0.001, 0.008),
        ),
    }
)
"""Ranges by name: in display values ``light`` and ``heavy`` streaks, strong ``veil``, and
``mixed``, all of them; in linear light ``sparse`` half-transparent streaks, ``specks`` (drops of 2
to 5 pixels) and ``night``."""


DIAMETER = 2.5
"""Of a drop, in standard deviations across its streak: a stripe of that width is as bright."""
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
        strength: peak brightness or opacity before the veil.
        oscillation: ripples along a streak; 0 for drops that do not oscillate.
        blur: standard deviation of the defocus in pixels.
    """

    depth: float
    density: float
    angle: float
    jitter: float
    length: float
    width: float
    strength: float
    oscillation: float = 0.0
    blur: float = 0.0


@dataclass(frozen=True)
class MaskLayer:
    """A streak picture laid over the scene.

    Attributes:
        name: stem of its file.
        strength: factor on its brightness.
        scale: factor on its size.
        top, left: where it is cut, as shares of what is left over.
        mirrored: left to right.
        turn: degrees.
        shear: columns a row.
    """

    name: str
    strength: float
    scale: float
    top: float
    left: float
    mirrored: bool
    turn: float = 0.0
    shear: float = 0.0


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
        masks: streak pictures, added up.
        screen: screen instead of additive composition, where there is no ``light``.
        linear: compose in linear light instead of display values.
        light: brightness of half-transparent drops, 1 is white; 0 where streaks are light alone.
        around: share of it that is the blurred surroundings.
        night: exponent on the light of the scene.
        shutter: share of the time between two frames during which the shutter is open.
        extinction: beta a metre; 0 is no veil.
        airlight: RGB of the veil, 1 is white.
        horizon: of the ground prior, as a share of the height.
        far: of the ground prior, in metres.
        camera: noise, JPEG, defocus.
    """

    seed: int
    layers: tuple[StreakLayer, ...] = ()
    masks: tuple[MaskLayer, ...] = ()
    screen: bool = False
    linear: bool = False
    light: float = 0.0
    around: float = 0.0
    night: float = 1.0
    shutter: float = 0.5
    extinction: float = 0.0
    airlight: tuple[float, float, float] = (0.8, 0.8, 0.8)
    horizon: float = 0.4
    far: float = 50.0
    camera: Camera = dataclasses.field(default_factory=Camera)

    def to_json(self) -> str:
        """Serialise so that :meth:`from_json` returns an equal scene."""
        return to_json(self)

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
    mixed = _draw_masks(masks, config.mask_strength, rng) if rng.random() < config.mask else ()
    veil = bool(rng.random() < config.veil)
    grey, tint = uniform(config.airlight), uniform(config.tint)
    red, green, blue = (float(c) for c in np.clip(grey + rng.uniform(-0.5, 0.5, 3) * tint, 0, 1))
    return RainScene(
        seed=int(rng.integers(2**32)),
        layers=layers[1:] if mixed else layers,
        masks=mixed,
        screen=bool(rng.random() < config.screen),
        linear=config.linear,
        light=uniform(config.light),
        around=uniform(config.around),
        night=uniform(config.night),
        shutter=uniform(config.shutter),
        extinction=log_uniform(rng, config.extinction) if veil else 0.0,
        airlight=(red, green, blue),
        horizon=uniform(config.horizon),
        far=uniform(config.far),
        camera=_draw_camera(config, rng),
    )


def log_uniform(rng: np.random.Generator, ends: Range) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(*np.log(ends))))


def _draw_masks(
    names: Sequence[str], strength: Range, rng: np.random.Generator
) -> tuple[MaskLayer, ...]:
    """Mix up to three streak pictures, each zoomed, sheared, turned and weighed.

    RainMix (Guo et al., EfficientDeRain, AAAI 2021), which so makes many rains of a few real ones.
    """
    if not names:
        return ()
    shares = rng.dirichlet(np.ones(int(rng.integers(1, 4))))
    return tuple(
        MaskLayer(
            name=names[int(rng.integers(len(names)))],
            strength=float(share * rng.uniform(*strength)),
            scale=float(rng.uniform(0.6, 1.4)),
            top=float(rng.random()),
            left=float(rng.random()),
            mirrored=bool(rng.random() < 0.5),
            turn=float(rng.uniform(-10, 10)),
            shear=float(rng.uniform(-0.15, 0.15)),
        )
        for share in shares
    )


def _draw_layers(config: RenderConfig, rng: np.random.Generator) -> tuple[StreakLayer, ...]:
    """Streaks of one kind of rain, seen smaller, fainter and more of them the deeper they lie.

    With ``light`` they are as opaque at every depth: a drop of diameter D that falls L while the
    shutter is open hides what is behind a point of its way for D / L of that time, so a thin quick
    streak is nearly transparent (Garg and Nayar, Vision and Rain, 2007).
    """
    count = int(rng.integers(config.layers[0], config.layers[1] + 1))
    near, spacing = rng.uniform(*config.nearest), rng.uniform(*config.spacing)
    density, length = log_uniform(rng, config.density), log_uniform(rng, config.length)
    width, strength = rng.uniform(*config.width), rng.uniform(*config.strength)
    angle, jitter = rng.uniform(*config.angle), rng.uniform(*config.jitter)
    ripples = float(rng.uniform(1, 4)) if rng.random() < config.oscillation else 0.0
    spread, blur = rng.uniform(*config.spread), rng.uniform(*config.blur)
    fading = 0.5
    if config.light[1]:
        strength, fading = strength * min(1.0, DIAMETER * width / length), 0.0
    layers = []
    for index in range(count):
        times = spacing**index
        layers.append(
            StreakLayer(
                depth=float(near * times),
                density=float(min(density * times**2, max(density, MOST_DENSE))),
                angle=float(angle + spread * rng.standard_normal()),
                jitter=float(jitter),
                length=float(max(length / times, 1.0)),
                width=float(width / times),
                strength=float(strength / times**fading),
                oscillation=ripples,
                blur=float(blur / times),
            )
        )
    return tuple(layers)


def _draw_camera(config: RenderConfig, rng: np.random.Generator) -> Camera:
    ranges = config.camera
    blurred, noisy, coded = rng.random(3) < (ranges.defocus, ranges.noise, ranges.jpeg)
    return Camera(
        blur=float(rng.uniform(*ranges.blur)) if blurred else 0.0,
        photons=log_uniform(rng, ranges.photons) if noisy else 0.0,
        read_noise=float(rng.uniform(*ranges.read_noise)) if noisy else 0.0,
        quality=round(rng.uniform(*ranges.quality)) if coded else 0,
    )
