"""The training set: crops from a weighted mixture of pairs, generated rain and dry pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from core.data import Image, SourceConfig, find_pairs, read_pairs
from core.errors import ConfigError, DataError
from core.progress import track
from core.rain.borrow import borrow_rain
from core.rain.depth import Depth
from core.rain.training import CropRenderer, RenderedConfig
from core.samples import Kind, Sample
from core.synthesis import BROAD, RainConfig, lay_rain, lay_veil, streak_layer

Rain = Literal["as_is", "borrowed", "generated", "rendered", "none", "unlabelled"]
POOL_SIZE = 320
_KINDS: dict[Rain, Kind] = {
    "as_is": Kind.PAIR,
    "none": Kind.DRY,
    "unlabelled": Kind.UNLABELLED,
}
_TAUGHT = ("as_is", "unlabelled")
"""Rains that are the same in every sample, so that what becomes of them can be kept."""


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
        for name in ("broad_share", "streak_share", "screen", "veil"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"generated.{name} {getattr(self, name)} is not within [0, 1]")
        if self.pool < 1:
            raise ConfigError(f"generated.pool {self.pool} must be at least 1")
        if min(self.layers, default=-1) < 0 or not abs(sum(self.layers) - 1) <= 1e-6:
            raise ConfigError(f"generated.layers {list(self.layers)} must add up to 1")
        if not 0 <= self.veil_strength[0] <= self.veil_strength[1] <= 1:
            raise ConfigError(
                f"generated.veil_strength {list(self.veil_strength)} is not a range within [0, 1]"
            )


@dataclass(frozen=True)
class MixtureConfig:
    """What the network sees in training.

    Attributes:
        parts: the data sets and their shares.
        crop: height and width of a crop in pixels. Of smaller pictures the largest square is
            enlarged; those smaller than half of it are refused.
        flips: mirror left to right at random.
        upside_down: mirror top to bottom at random as well.
        turns: turn by a random number of quarter turns. Rain falls, so this costs quality.
        shrink: probability of taking a larger piece and shrinking it to the crop, rain of its own
            included, so that fine texture and small pictures are seen as well.
        shrink_to: range of the factor; a picture that is too small for it is shrunk less.
        generated: the drawn rain.
        rendered: the rendered rain.
    """

    parts: tuple[PartConfig, ...]
    crop: int = 128
    flips: bool = True
    upside_down: bool = False
    turns: bool = False
    shrink: float = 0.0
    shrink_to: tuple[float, float] = (0.4, 1.0)
    generated: GeneratedConfig = field(default_factory=GeneratedConfig)
    rendered: RenderedConfig = field(default_factory=RenderedConfig)

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("mixture.parts is empty; name at least one data set")
        if not 8 <= self.crop <= POOL_SIZE:
            raise ConfigError(f"mixture.crop {self.crop} is not within [8, {POOL_SIZE}]")
        if not 0 <= self.shrink <= 1:
            raise ConfigError(f"mixture.shrink {self.shrink} is not within [0, 1]")
        if not 0 < self.shrink_to[0] <= self.shrink_to[1] <= 1:
            raise ConfigError(
                f"mixture.shrink_to {list(self.shrink_to)} is not a range within (0, 1]"
            )


class MixtureDataset(Dataset[Sample]):
    """Sample ``index`` is a pure function of ``(seed, index)``, whatever ran before it.

    All pictures are held in memory as uint8. The pictures of a :class:`~core.samples.Sample` are
    uint8 (3, crop, crop), RGB.

    Args:
        config: the mixture.
        data_root: folder to which its sources are relative.
        seed: of crops and rain.
        progress: show bars on standard error.
        teach: derains a whole rainy picture, uint8 (H, W, 3) RGB in and out; it is called once for
            each picture whose rain is its own, and fills ``taught``.

    Raises:
        DataError: a source that is missing, or a picture that is wrong or too small.
    """

    def __init__(
        self,
        config: MixtureConfig,
        data_root: str = ".",
        seed: int = 0,
        progress: bool = False,
        teach: Callable[[Image], Image] | None = None,
    ) -> None:
        self.config = config
        self.seed = seed
        loaded: dict[SourceConfig, list[tuple[Image, Image]]] = {}
        depths: dict[SourceConfig, list[Depth]] = {}
        rendered = {part.source for part in config.parts if part.rain == "rendered"}
        self._renderer = CropRenderer(config.rendered, data_root, seed) if rendered else None
        for source in _sources(config.parts):
            if source not in loaded:
                files = find_pairs(source, data_root)
                title = (source.root or source.rainy) if progress else None
                pairs = list(read_pairs(files, title))
                for file, (_, clean) in zip(files, pairs, strict=True):
                    if 2 * min(clean.shape[:2]) < config.crop:
                        raise DataError(
                            f"{file.clean} is {clean.shape[1]}x{clean.shape[0]}, smaller than half "
                            f"of mixture.crop {config.crop}; lower the crop or remove the picture"
                        )
                loaded[source] = pairs
                if self._renderer is not None and source in rendered:
                    depths[source] = [
                        self._renderer.depth(file, index, clean)
                        for index, (file, (_, clean)) in enumerate(zip(files, pairs, strict=True))
                    ]
        self._parts = [loaded[part.source] for part in config.parts]
        self._lenders = [loaded[part.lender] if part.lender else [] for part in config.parts]
        self._depths = [depths.get(part.source, []) for part in config.parts]
        self._taught: dict[SourceConfig, list[Image]] | None = None
        if teach:
            sources = {part.source for part in config.parts if part.rain in _TAUGHT}
            self._taught = {
                source: [
                    teach(rainy)
                    for rainy, _ in track(pairs, f"teacher: {source.name}" if progress else None)
                ]
                for source, pairs in loaded.items()
                if source in sources
            }
        weights = np.array([part.weight for part in config.parts])
        self._shares = weights / weights.sum()
        self._pool: list[Image] = []
        self._streaks: list[Image] = []
        if any(part.rain == "generated" for part in config.parts):
            rng = np.random.default_rng([seed, 0xC10D])
            rain = config.generated
            broad = round(rain.broad_share * rain.pool)
            kinds = [rain.rain] * (rain.pool - broad) + [rain.broad] * broad
            self._pool = [streak_layer(POOL_SIZE, POOL_SIZE, kind, rng) for kind in kinds]
            if rain.streaks:
                files = find_pairs(SourceConfig(layout="clean", root=rain.streaks), data_root)
                self._streaks = [
                    np.ascontiguousarray(picture[..., 0]) for picture, _ in read_pairs(files)
                ]

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        which = rng.choice(len(self._parts), p=self._shares)
        pairs, part = self._parts[which], self.config.parts[which]
        kind = _KINDS.get(part.rain, Kind.MADE)
        chosen = int(rng.integers(len(pairs)))
        taught: list[Image] = []
        scale = self._scale(rng)
        if part.rain == "rendered" and self._renderer is not None:
            deep = (pairs[chosen][1], self._depths[which][chosen])
            clean, depth = self._piece(deep, scale, rng)
            rainy = self._renderer.rain_on(clean, depth, rng)
        else:
            whole: tuple[Image, ...] = pairs[chosen]
            if self._taught is not None and part.rain in _TAUGHT:
                whole = (*whole, self._taught[part.source][chosen])
            rainy, clean, *taught = self._piece(whole, scale, rng)
            if part.rain == "generated":
                rainy = self._rain_on(clean, rng)
            elif part.rain == "borrowed":
                lenders = self._lenders[which]
                pair = self._piece(lenders[rng.integers(len(lenders))], scale, rng)
                rainy = borrow_rain(clean, pair[0], pair[1], screen=bool(rng.random() < 0.5))
            elif part.rain == "none":
                rainy = clean
        if kind == Kind.UNLABELLED:
            clean = np.zeros_like(clean)
        if self._taught is not None and not taught:
            taught = [np.zeros_like(clean)]
        pictures = [_tensor(picture) for picture in self._view([rainy, clean, *taught], rng)]
        held = pictures[2] if taught else torch.empty(0, dtype=torch.uint8)
        return Sample(pictures[0], pictures[1], torch.tensor(int(kind)), held)

    def _view(self, pictures: list[Image], rng: np.random.Generator) -> list[Image]:
        """Mirror and turn all pictures in the same way."""
        if self.config.flips and rng.random() < 0.5:
            pictures = [picture[:, ::-1] for picture in pictures]
        if self.config.upside_down and rng.random() < 0.5:
            pictures = [picture[::-1] for picture in pictures]
        if self.config.turns:
            quarter = int(rng.integers(4))
            pictures = [np.rot90(picture, quarter) for picture in pictures]
        return pictures

    def _scale(self, rng: np.random.Generator) -> float:
        if self.config.shrink and rng.random() < self.config.shrink:
            return float(rng.uniform(*self.config.shrink_to))
        return 1.0

    def _piece(
        self, pictures: tuple[NDArray[Any], ...], scale: float, rng: np.random.Generator
    ) -> tuple[NDArray[Any], ...]:
        """Cut the same piece of all pictures and shrink it by ``scale`` to the size of a crop.

        Of pictures smaller than that, the largest square is enlarged.
        """
        size = self.config.crop
        side = min(round(size / scale), *pictures[0].shape[:2])
        cut = self._crop(pictures, side, rng)
        if side == size:
            return cut
        return tuple(_resize(picture, size) for picture in cut)

    @staticmethod
    def _crop(
        pictures: tuple[NDArray[Any], ...], size: int, rng: np.random.Generator
    ) -> tuple[NDArray[Any], ...]:
        height, width = pictures[0].shape[:2]
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        return tuple(picture[top : top + size, left : left + size] for picture in pictures)

    def _layer(self, rng: np.random.Generator) -> Image:
        size, rain = self.config.crop, self.config.generated
        if self._streaks and rng.random() < rain.streak_share:
            picture = self._streaks[rng.integers(len(self._streaks))]
            scale = rng.uniform(0.6, 1.4)
            (layer,) = self._crop((picture,), min(int(size / scale), *picture.shape), rng)
            layer = _resize(layer, size)
            layer = cv2.convertScaleAbs(layer, alpha=rng.uniform(0.5, 1.3)).astype(np.uint8)
        else:
            (layer,) = self._crop((self._pool[rng.integers(len(self._pool))],), size, rng)
        return layer[:, ::-1] if rng.random() < 0.5 else layer

    def _rain_on(self, clean: Image, rng: np.random.Generator) -> Image:
        rain = self.config.generated
        rainy = clean
        for _ in range(int(rng.choice(len(rain.layers), p=rain.layers)) + 1):
            rainy = lay_rain(rainy, self._layer(rng), screen=bool(rng.random() < rain.screen))
        if rng.random() < rain.veil:
            rainy = lay_veil(rainy, rng.uniform(*rain.veil_strength), rng.uniform(150, 255))
        return rainy


class StepSampler(Sampler[int]):
    """Sample indices of the steps ``start`` to ``stop``: ``batch_size`` new ones every step.

    Args:
        start: finished steps.
        stop: steps in all.
        batch_size: indices a step, over all processes.
        rank: which process this is; it gets its share of every step's indices, in one piece.
        processes: how many there are; they divide ``batch_size``.
    """

    def __init__(
        self, start: int, stop: int, batch_size: int, rank: int = 0, processes: int = 1
    ) -> None:
        self._steps, self._batch_size = range(start, stop), batch_size
        self._share = batch_size // processes
        self._first = rank * self._share

    def __iter__(self) -> Iterator[int]:
        for step in self._steps:
            first = step * self._batch_size + self._first
            yield from range(first, first + self._share)

    def __len__(self) -> int:
        return len(self._steps) * self._share


def _sources(parts: tuple[PartConfig, ...]) -> Iterator[SourceConfig]:
    for part in parts:
        yield part.source
        if part.lender:
            yield part.lender


def _resize(picture: NDArray[Any], size: int) -> NDArray[Any]:
    """Scale a square to ``size`` x ``size``."""
    how = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (size, size), interpolation=how)
    return scaled.astype(picture.dtype, copy=False)


def _tensor(picture: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
