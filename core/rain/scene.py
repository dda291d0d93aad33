"""Rain described by ranges of its parameters: presets of them, and one rain drawn from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, TypeVar

import numpy as np

from core.errors import check_bounds

Range = tuple[float, float]
_UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class CameraConfig:
    """What the camera does to a picture, each with its own probability.

    A range or probability out of bounds raises ConfigError.

    Attributes:
        noise: probability of sensor noise.
        photons: signal at white in photo-electrons, log-uniform; fewer are noisier.
        read_noise: standard deviation in levels of 0 to 255, whatever the signal.
        jpeg: probability of a JPEG round trip.
        quality: range of the JPEG quality.
    """

    noise: float = 0.3
    photons: Range = (1000.0, 20000.0)
    read_noise: Range = (0.0, 1.5)
    jpeg: float = 0.4
    quality: Range = (70.0, 98.0)

    RETIRED: ClassVar = {"defocus": 0.0, "blur": [0.2, 0.6]}

    def __post_init__(self) -> None:
        check_bounds(self, "camera.", noise=_UNIT, jpeg=_UNIT, photons=(10, 1e6))
        check_bounds(self, "camera.", read_noise=(0, 50), quality=(1, 100))


@dataclass(frozen=True)
class RenderConfig:
    """Ranges from which a rain is drawn: uniformly, or log-uniformly where said.

    A range or probability out of bounds raises ConfigError.

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
        camera: noise and JPEG.
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
        check_bounds(self, "rain.", **dict.fromkeys(shares + units, _UNIT), layers=(0, 8))
        check_bounds(self, "rain.", nearest=(0.1, 1000), spacing=(1, 100), density=(1e-6, 1))
        check_bounds(self, "rain.", angle=(-90, 90), jitter=(0, 45), spread=(0, 45), blur=(0, 20))
        check_bounds(self, "rain.", length=(1, 500), width=(0.1, 10), mask_strength=(0, 10))
        check_bounds(self, "rain.", shutter=(0.01, 1), light=(0, 100), night=(1, 10))
        check_bounds(self, "rain.", extinction=(1e-6, 10), horizon=(-1, 2), far=(0.1, 10000))


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
            density=(0.0004, 0.0008),
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
            light=(1.5, 2.2),
            around=(0.0, 0.3),
            mask=0.0,
            veil=0.0,
        ),
        "night": RenderConfig(
            layers=(1, 3),
            length=(20.0, 90.0),
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


Ranges = TypeVar("Ranges", CameraConfig, RenderConfig)


def draw_scene(ranges: Ranges, rng: np.random.Generator) -> Ranges:
    """Draw one rain: both ends of each range become one value, each probability 0 or 1.

    Of what is drawn already nothing changes, so a rain can be drawn again from its own values.

    Args:
        ranges: of the rain.
        rng: source of all randomness, advanced by as much whatever the ranges are.
    """
    drawn: dict[str, object] = {}
    for name, value in vars(ranges).items():
        if isinstance(value, CameraConfig):
            drawn[name] = draw_scene(value, rng)
        elif isinstance(value, tuple):
            low, high = value
            if name == "layers":
                one: float = int(rng.integers(low, high + 1))
            else:
                one = log_uniform(rng, value) if name in _LOGARITHMIC else rng.uniform(low, high)
            drawn[name] = (one, one)
        elif name != "linear":
            drawn[name] = float(rng.random() < value)
    return dataclasses.replace(ranges, **drawn)  # type: ignore[arg-type]


_LOGARITHMIC = ("density", "extinction", "length", "photons")


def log_uniform(rng: np.random.Generator, ends: Range) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(ends[0] * (ends[1] / ends[0]) ** rng.random())


class StreakLayer(NamedTuple):
    """One layer of streaks, with values as of :class:`RenderConfig` at its depth.

    Attributes:
        depth: metres; the layer is hidden by what is nearer.
        strength: peak brightness or opacity before the veil.
        ripples: along a streak; 0 for drops that do not oscillate.
    """

    depth: float
    density: float
    angle: float
    jitter: float
    length: float
    width: float
    strength: float
    ripples: float = 0.0
    blur: float = 0.0


DIAMETER = 2.5
"""Of a drop, in standard deviations across its streak: a stripe of that width is as bright."""
MOST_DENSE = 0.05
"""Streaks a pixel beyond which a layer looks the same and only takes longer."""


def streak_layers(
    scene: RenderConfig, rng: np.random.Generator, first: int = 0
) -> list[StreakLayer]:
    """Streaks of a drawn rain, near to far: smaller, fainter and more of them the deeper they lie.

    With ``light`` they are as opaque at every depth: a drop of diameter D that falls L while the
    shutter is open hides what is behind a point of its way for D / L of that time, so a thin quick
    streak is nearly transparent (Garg and Nayar, Vision and Rain, 2007).
    """
    width, length, density = scene.width[0], scene.length[0], scene.density[0]
    ripples = float(rng.uniform(1, 4)) if scene.oscillation else 0.0
    layers = []
    for index in range(first, scene.layers[0]):
        times = scene.spacing[0] ** index
        opacity = min(1.0, DIAMETER * width / length) if scene.light[0] else times**-0.5
        layers.append(
            StreakLayer(
                depth=scene.nearest[0] * times,
                density=min(density * times**2, max(density, MOST_DENSE)),
                angle=scene.angle[0] + scene.spread[0] * float(rng.standard_normal()),
                jitter=scene.jitter[0],
                length=max(length / times, 1.0),
                width=width / times,
                strength=scene.strength[0] * opacity,
                ripples=ripples,
                blur=scene.blur[0] / times,
            )
        )
    return layers
