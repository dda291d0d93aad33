"""Training samples: crops from a weighted mixture of pairs, generated rain and dry pictures."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from core.errors import DataError
from core.mixture.config import POOL_SIZE, MixtureConfig, Rain
from core.pairs import Image, SourceConfig, find_pairs, read_pairs
from core.progress import track
from core.rain.depth import Depth, ground_depth
from core.rain.drawn import streak_layer
from core.rain.real import Masks, borrow_rain, cut_streaks, read_masks
from core.rain.render import fade, lay, render, to_levels
from core.rain.scene import PRESETS


class Kind(IntEnum):
    """Where a sample comes from, which says who may speak about it."""

    PAIR = 0
    """A rainy picture and its clean version that come again: on disk, or made once."""
    MADE = 1
    """A clean picture that rain was laid on for this sample alone."""
    DRY = 2
    """A picture without rain: nothing of it may change."""
    UNLABELLED = 3
    """A rainy picture without a clean version: only a teacher can say what it should become."""


class Sample(NamedTuple):
    """One sample, or a batch of N with one more dimension in front.

    Attributes:
        rainy: uint8 (3, H, W) RGB.
        clean: the same shape; zeros, which stand for nothing, where ``kind`` is ``UNLABELLED``.
        kind: int64 scalar, a :class:`Kind`.
        taught: what a teacher made of the whole rainy picture, cut like it: uint8 (3, H, W), zeros
            for the kinds ``MADE`` and ``DRY``; empty, (0,), where no such results are kept.
    """

    rainy: Tensor
    clean: Tensor
    kind: Tensor
    taught: Tensor

    def chunk(self, parts: int) -> list[Sample]:
        """Cut a batch into ``parts`` along N, which they must divide."""
        return [Sample(*part) for part in zip(*(each.chunk(parts) for each in self), strict=True)]


def to_float(pictures: Tensor) -> Tensor:
    """Turn uint8 (N, 3, H, W) into float32 in [0, 1], channels last in memory."""
    return (pictures.float() / 255).contiguous(memory_format=torch.channels_last)


_KINDS: dict[Rain, Kind] = {
    "as_is": Kind.PAIR,
    "none": Kind.DRY,
    "unlabelled": Kind.UNLABELLED,
}
_PIECE = 0xC1DE
"""Tells the random numbers of pieces that are made once from those of samples."""
_TAUGHT = ("as_is", "unlabelled")
"""Rains that are the same in every sample, so that what becomes of them can be kept."""


class MixtureDataset(Dataset[Sample]):
    """Sample ``index`` is a pure function of ``(seed, index)``, whatever ran before it.

    All pictures are held in memory as uint8. The pictures of a
    :class:`Sample` are uint8 (3, crop, crop), RGB.

    Args:
        config: the mixture.
        data_root: folder to which its sources are relative.
        seed: of crops and rain.
        progress: show bars on standard error.
        teach: derains a whole rainy picture, uint8 (H, W, 3) RGB in and out; it is called once for
            each picture whose rain is its own, and fills ``taught``.
        pieces: with ``teach``, that many pieces with made rain are made once and taught too; half
            of what would be of the kind ``MADE`` is one of them, of the kind ``PAIR``.

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
        pieces: int = 0,
    ) -> None:
        self.config = config
        self.seed = seed
        self._configs = parts = tuple(config.parts.values())
        self._rain = config.rendered.rain or PRESETS[config.rendered.preset]
        loaded: dict[SourceConfig, list[tuple[Image, Image]]] = {}
        depths: dict[SourceConfig, list[Depth]] = {}
        rendered = {part.source for part in parts if part.rain == "rendered"}
        for source in (each for part in parts for each in (part.source, part.lender) if each):
            if source in loaded:
                continue
            files = find_pairs(source, data_root)
            pairs = list(read_pairs(files, (source.root or source.rainy) if progress else None))
            for file, (_, clean) in zip(files, pairs, strict=True):
                if 2 * min(clean.shape[:2]) < config.crop:
                    raise DataError(
                        f"{file.clean} is {clean.shape[1]}x{clean.shape[0]}, smaller than half "
                        f"of mixture.crop {config.crop}; lower the crop or remove the picture"
                    )
            loaded[source] = pairs
            if source in rendered:
                depths[source] = [self._depth(*each) for each in enumerate(pairs)]
        self._parts = [loaded[part.source] for part in parts]
        self._lenders = [loaded[part.lender] if part.lender else [] for part in parts]
        self._depths = [depths.get(part.source, []) for part in parts]
        self._taught: dict[SourceConfig, list[Image]] | None = None
        if teach:
            sources = {part.source for part in parts if part.rain in _TAUGHT}
            self._taught = {
                source: [
                    teach(rainy)
                    for rainy, _ in track(pairs, f"teacher: {source.name}" if progress else None)
                ]
                for source, pairs in loaded.items()
                if source in sources
            }
        weights = np.array([part.weight for part in parts])
        self._shares = weights / weights.sum()
        self._pool: list[Image] = []
        self._masks: Masks = []
        if any(part.rain == "generated" for part in parts):
            rng = np.random.default_rng([seed, 0xC10D])
            rain = config.generated
            broad = round(rain.broad_share * rain.pool)
            kinds = [rain.rain] * (rain.pool - broad) + [rain.broad] * broad
            self._pool = [streak_layer(POOL_SIZE, POOL_SIZE, kind, rng) for kind in kinds]
            if rain.streaks:
                self._masks = read_masks(Path(data_root) / rain.streaks)
        making = [number for number, part in enumerate(parts) if part.rain not in _KINDS]
        self._pieces: list[tuple[int, Image]] = []
        if teach and pieces and making:
            shares = self._shares[making] / self._shares[making].sum()
            chosen = np.random.default_rng([seed, _PIECE]).choice(making, pieces, p=shares)
            title = "teacher: pieces with made rain" if progress else None
            for number, which in enumerate(track(chosen.tolist(), title)):
                rainy, _ = self._made(which, self._piece_rng(number))
                self._pieces.append((which, teach(np.ascontiguousarray(rainy))))

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        which = int(rng.choice(len(self._parts), p=self._shares))
        part = self._configs[which]
        kind = _KINDS.get(part.rain, Kind.MADE)
        taught: list[Image] = []
        if kind != Kind.MADE:
            rainy, clean, *taught = self._found(which, rng)
        elif self._pieces and rng.random() < 0.5:
            number = int(rng.integers(len(self._pieces)))
            which, derained = self._pieces[number]
            rainy, clean = self._made(which, self._piece_rng(number))
            kind, taught = Kind.PAIR, [derained]
        else:
            rainy, clean = self._made(which, rng)
        if kind == Kind.UNLABELLED:
            clean = np.zeros_like(clean)
        if self._taught is not None and not taught:
            taught = [np.zeros_like(clean)]
        mirrored = self.config.flips and rng.random() < 0.5
        pictures = [
            torch.from_numpy(
                np.ascontiguousarray(each[:, :: -1 if mirrored else 1].transpose(2, 0, 1))
            )
            for each in (rainy, clean, *taught)
        ]
        held = pictures[2] if taught else torch.empty(0, dtype=torch.uint8)
        return Sample(pictures[0], pictures[1], torch.tensor(int(kind)), held)

    def _piece_rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, _PIECE, number])

    def _found(self, which: int, rng: np.random.Generator) -> tuple[Image, ...]:
        """Cut a picture of a part that needs no rain: rainy, clean and, where kept, taught."""
        pairs, part = self._parts[which], self._configs[which]
        chosen = int(rng.integers(len(pairs)))
        whole: tuple[Image, ...] = pairs[chosen]
        if self._taught is not None and part.rain in _TAUGHT:
            whole = (*whole, self._taught[part.source][chosen])
        rainy, clean, *taught = self._piece(whole, self._scale(rng), rng)
        return (clean if part.rain == "none" else rainy), clean, *taught

    def _made(self, which: int, rng: np.random.Generator) -> tuple[Image, Image]:
        """Cut a clean picture of a part and lay rain on it: rainy and clean."""
        pairs, part = self._parts[which], self._configs[which]
        chosen = int(rng.integers(len(pairs)))
        scale = self._scale(rng)
        if part.rain == "rendered":
            deep = (pairs[chosen][1], self._depths[which][chosen])
            clean, depth = self._piece(deep, scale, rng)
            rendered = render(clean, self._rain, int(rng.integers(2**32)), depth)
            return rendered.rainy, rendered.clean
        _, clean = self._piece(pairs[chosen], scale, rng)
        if part.rain == "generated":
            return self._rain_on(clean, rng), clean
        lenders = self._lenders[which]
        pair = self._piece(lenders[rng.integers(len(lenders))], scale, rng)
        return borrow_rain(clean, pair[0], pair[1], screen=bool(rng.random() < 0.5)), clean

    def _depth(self, index: int, pair: tuple[Image, Image]) -> Depth:
        """Assume a ground under picture ``index`` of its set, which is to be cropped with it."""
        rng = np.random.default_rng([self.seed, 0xDEE9, index])
        horizon, far = rng.uniform(*self._rain.horizon), rng.uniform(*self._rain.far)
        height, width = pair[1].shape[:2]
        return ground_depth(height, width, float(horizon), float(far))

    def _scale(self, rng: np.random.Generator) -> float:
        config = self.config
        if not config.shrink + config.enlarge:
            return 1.0
        chance = rng.random()
        if chance < config.shrink:
            return float(rng.uniform(*config.shrink_to))
        if chance < config.shrink + config.enlarge:
            return float(np.exp(rng.uniform(*np.log(config.enlarge_to))))
        return 1.0

    def _piece(
        self, pictures: tuple[NDArray[Any], ...], scale: float, rng: np.random.Generator
    ) -> tuple[NDArray[Any], ...]:
        """Cut the same piece of all pictures, at most the largest square, scaled to a crop."""
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

    def _layer(self, rng: np.random.Generator) -> NDArray[np.float32]:
        size, rain = self.config.crop, self.config.generated
        if self._masks and rng.random() < rain.streak_share:
            mask = self._masks[int(rng.integers(len(self._masks)))]
            piece = cut_streaks(mask, size, size, rng)
            return np.asarray(piece * np.float32(rng.uniform(0.5, 1.3)))
        (layer,) = self._crop((self._pool[rng.integers(len(self._pool))],), size, rng)
        return np.asarray(layer[:, :: -1 if rng.random() < 0.5 else 1] / np.float32(255))

    def _rain_on(self, clean: Image, rng: np.random.Generator) -> Image:
        rain = self.config.generated
        picture = clean / np.float32(255)
        for _ in range(int(rng.choice(len(rain.layers), p=rain.layers)) + 1):
            picture = lay(picture, self._layer(rng), hides=bool(rng.random() < rain.screen))
        if rng.random() < rain.veil:
            through = 1 - rng.uniform(*rain.veil_strength)
            picture = fade(picture, through, rng.uniform(150, 255) / 255)
        return to_levels(picture)


def step_indices(
    start: int, stop: int, batch_size: int, rank: int = 0, processes: int = 1
) -> NDArray[np.int64]:
    """Return the sample indices of the steps ``start`` to ``stop``, as a loader takes them.

    Args:
        start: finished steps.
        stop: steps in all.
        batch_size: new indices a step, over all processes.
        rank: which process this is; it gets its share of every step's indices, in one piece.
        processes: how many there are; they divide ``batch_size``.
    """
    indices = np.arange(start * batch_size, stop * batch_size, dtype=np.int64)
    return np.asarray(indices[indices // (batch_size // processes) % processes == rank])


def _resize(picture: NDArray[Any], size: int) -> NDArray[Any]:
    """Scale a square to ``size`` x ``size``."""
    how = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (size, size), interpolation=how)
    return scaled.astype(picture.dtype, copy=False)
