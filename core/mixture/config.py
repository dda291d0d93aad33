"""The mixture of the training set, as configs say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from core.errors import ConfigError, check_bounds
from core.pairs import SourceConfig
from core.rain.drawn import BROAD, RainConfig
from core.rain.scene import Preset, RenderConfig

Rain = Literal["as_is", "borrowed", "generated", "rendered", "none", "unlabelled"]
POOL_SIZE = 320
"""Height and width of a drawn streak layer, and so the largest crop."""


@dataclass(frozen=True)
class PartConfig:
    """One part of the mixture.

    Attributes:
        source: the data set.
        weight: share of the samples, relative to the other parts.
        rain: ``as_is`` takes the pairs as they are; ``borrowed`` lays the rain of ``lender`` over
            the clean pictures, ``generated`` drawn rain; ``rendered`` renders rain with depth on
            them; ``none`` takes a clean picture as both rainy and clean, so that dry photographs
            are left alone; ``unlabelled`` takes rainy pictures without a clean version (layout
            ``clean``; that of a pair is not used), about which only a teacher has something to
            say: ``compress distill --teacher``.
        lender: the pairs whose rain is ``borrowed``.
    """

    source: SourceConfig
    weight: float = 1.0
    rain: Rain = "as_is"
    lender: SourceConfig | None = None

    def __post_init__(self) -> None:
        if (self.rain == "borrowed") != (self.lender is not None):
            raise ConfigError(
                f"mixture.parts: rain {self.rain!r} of {self.source.root or self.source.rainy!r}: "
                "rain 'borrowed' and a lender belong together; give both or none"
            )
        for source in (self.source, self.lender):
            kept = source.held_out if source else ""
            if kept:
                raise ConfigError(
                    f"mixture.parts: {kept} is for validation or tests, and scores would mean "
                    "nothing if it were trained on; name other pictures"
                )
        if not self.weight > 0:
            raise ConfigError(
                f"mixture.parts: weight {self.weight} of "
                f"{self.source.root or self.source.rainy!r} must be above 0"
            )


@dataclass(frozen=True)
class GeneratedConfig:
    """How the ``generated`` parts of the mixture are rained on.

    Attributes:
        rain: ranges of one streak layer.
        broad: ranges of a layer of near drops out of focus, whose streaks are broad and soft.
        broad_share: share of the pool that is such layers.
        pool: streak layers drawn once before training and cropped from then on.
        layers: probabilities of 1, 2, 3 ... layers on one picture.
        streaks: optional folder of streak pictures, grey on black, used beside the pool.
        streak_share: share of the layers that comes from ``streaks``.
        screen: probability of screen blending instead of additive.
        veil: probability of a veil: the picture fades towards a grey.
        veil_strength: range of the veil's opacity.
    """

    rain: RainConfig = field(default_factory=RainConfig)
    broad: RainConfig = BROAD
    broad_share: float = 0.0
    pool: int = 400
    layers: tuple[float, ...] = (0.5, 0.25, 0.15, 0.05, 0.05)
    streaks: str = ""
    streak_share: float = 0.35
    screen: float = 0.3
    veil: float = 0.3
    veil_strength: tuple[float, float] = (0.0, 0.3)

    def __post_init__(self) -> None:
        shares = dict.fromkeys(("broad_share", "streak_share", "screen", "veil"), (0, 1))
        check_bounds(self, "generated.", **shares, veil_strength=(0, 1), pool=1)
        if min(self.layers, default=-1) < 0 or not abs(sum(self.layers) - 1) <= 1e-6:
            raise ConfigError(f"generated.layers {list(self.layers)} must add up to 1")


@dataclass(frozen=True)
class RenderedConfig:
    """How the ``rendered`` parts of the mixture are rained on.

    Attributes:
        preset: name of the ranges.
        rain: own ranges in its place.
    """

    preset: Preset = "mixed"
    rain: RenderConfig | None = None

    RETIRED: ClassVar = {"depth": "", "streaks": ""}


@dataclass(frozen=True)
class MixtureConfig:
    """What the network sees in training.

    Attributes:
        parts: the data sets and their shares, by names of one's own. Their order is part of what
            a seed draws.
        crop: height and width of a crop in pixels, from 8 to 320, as large as drawn rain is. Of
            smaller pictures the largest square is enlarged; those smaller than half of it are
            refused.
        flips: mirror left to right at random.
        shrink: probability of taking a larger piece and shrinking it to the crop, rain of its own
            included, so that fine texture and small pictures are seen as well.
        shrink_to: range of the factor; a picture that is too small for it is shrunk less.
        enlarge: probability of taking a smaller piece and enlarging it to the crop, rain of its own
            included, so that large, soft pictures and near rain are seen as well. Drawn rain is
            laid on afterwards.
        enlarge_to: range of the factor, evenly in its logarithm.
        generated: the drawn rain.
        rendered: the rendered rain.
    """

    parts: dict[str, PartConfig]
    crop: int = 128
    flips: bool = True
    shrink: float = 0.0
    shrink_to: tuple[float, float] = (0.4, 1.0)
    enlarge: float = 0.0
    enlarge_to: tuple[float, float] = (1.0, 4.0)
    generated: GeneratedConfig = field(default_factory=GeneratedConfig)
    rendered: RenderedConfig = field(default_factory=RenderedConfig)

    RETIRED: ClassVar = {"upside_down": False, "turns": False}

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("mixture.parts is empty; name at least one data set")
        rest = 1 - self.shrink
        shrink_to = (1 / POOL_SIZE, 1)  # to nothing would take a piece without an end
        check_bounds(self, "mixture.", crop=(8, POOL_SIZE), shrink=(0, 1), shrink_to=shrink_to)
        check_bounds(self, "mixture.", enlarge=(0, rest), enlarge_to=(1, self.crop))
