"""What rain may look like: ranges from which every scene is drawn, and presets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from core.errors import ConfigError

Range = tuple[float, float]
MOST_LAYERS = 8


def _check_ranges(config: Any, prefix: str, bounds: Mapping[str, Range]) -> None:
    for name, (least, most) in bounds.items():
        low, high = getattr(config, name)
        if not least <= low <= high <= most:
            raise ConfigError(
                f"{prefix}.{name} [{low}, {high}] is not a range within [{least}, {most}]"
            )


def _check_shares(config: Any, prefix: str, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise ConfigError(f"{prefix}.{name} {value} is not a probability within [0, 1]")


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
        _check_shares(self, "camera", ("noise", "jpeg", "defocus"))
        bounds = {"photons": (10.0, 1e6), "read_noise": (0.0, 50.0)}
        bounds |= {"quality": (1.0, 100.0), "blur": (0.0, 10.0)}
        _check_ranges(self, "camera", bounds)


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
        strength: peak brightness of the nearest streaks, 1 is white.
        oscillation: probability that the drops oscillate while they fall.
        screen: probability of screen instead of additive composition.
        mask: probability that a streak picture takes the place of the nearest layer.
        mask_strength: factor on the brightness of such a picture.
        veil: probability of a veil.
        extinction: beta in ``exp(-beta d)``, a metre, log-uniform.
        airlight: brightness of the veil, 1 is white.
        tint: largest difference between the airlight's channels.
        horizon: row of the horizon as a share of the height, where no depth is known.
        far: depth of the sky in metres, where no depth is known.
        overcast: probability of overcast light: darker, with less contrast.
        overcast_strength: share of the contrast that is lost then.
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
    screen: float = 0.3
    mask: float = 0.25
    mask_strength: Range = (0.5, 1.3)
    veil: float = 0.4
    extinction: Range = (0.002, 0.03)
    airlight: Range = (0.6, 0.95)
    tint: Range = (0.0, 0.04)
    horizon: Range = (0.1, 0.6)
    far: Range = (15.0, 80.0)
    overcast: float = 0.0
    overcast_strength: Range = (0.05, 0.2)
    camera: CameraConfig = field(default_factory=CameraConfig)

    def __post_init__(self) -> None:
        _check_shares(self, "rain", ("oscillation", "screen", "mask", "veil", "overcast"))
        unit = (0.0, 1.0)
        bounds: dict[str, Range] = dict.fromkeys(
            ("strength", "airlight", "tint", "overcast_strength"), unit
        )
        bounds |= {"layers": (0, MOST_LAYERS), "nearest": (0.1, 1000.0), "spacing": (1.0, 100.0)}
        bounds |= {"density": (1e-6, 1.0), "angle": (-90.0, 90.0), "jitter": (0.0, 45.0)}
        bounds |= {"length": (1.0, 500.0), "width": (0.1, 10.0), "mask_strength": (0.0, 10.0)}
        bounds |= {"extinction": (1e-6, 10.0), "horizon": (-1.0, 2.0), "far": (0.1, 10000.0)}
        _check_ranges(self, "rain", bounds)


PRESETS: Mapping[str, RenderConfig] = MappingProxyType(
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
    }
)
"""Ranges by name: ``light`` and ``heavy`` streaks, strong ``veil``, and ``mixed``, all of them."""
