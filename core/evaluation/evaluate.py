"""Score anything that derains pictures on named data sets, under both protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from core.config_errors import nearest
from core.errors import ConfigError, DataError
from core.pairs import Image, SourceConfig, find_pairs
from core.progress import track
from core.rain.drawn import FixedRain
from edge_runtime.metrics import PROTOCOLS, Protocol, Quality, counted_psnr, measure
from edge_runtime.models.card import QualityRow

Derain = Callable[[Image], Image]
"""Takes and returns uint8 (H, W, 3) RGB."""
Pairs = Sequence[tuple[Image, Image]]
WINDOW = 11
"""Height and width of the SSIM window, below which a picture has no SSIM."""


@dataclass(frozen=True)
class TestSetConfig:
    """One data set of a quality table.

    Attributes:
        source: the pictures.
        rain: lay this rain over the clean pictures instead of taking the rainy ones.
        enlarge: factor by which the pictures are enlarged first (bicubic), as a camera of more
            pixels sees the same scene without its finest detail.
    """

    source: SourceConfig
    rain: FixedRain | None = None
    enlarge: int = 1

    def __post_init__(self) -> None:
        if not self.enlarge >= 1:
            raise ConfigError(f"enlarge {self.enlarge} must be at least 1")

    def read(self, data_root: str, progress: str | None = None) -> Iterator[tuple[Image, Image]]:
        """Read ``(rainy, clean)``, uint8 (H, W, 3) RGB each; raises DataError."""
        for _, rainy, clean in self.read_named(data_root, progress):
            yield rainy, clean

    def read_named(
        self, data_root: str, progress: str | None = None
    ) -> Iterator[tuple[str, Image, Image]]:
        """Read ``(file name, rainy, clean)``, otherwise as :meth:`read`."""
        files = find_pairs(self.source, data_root)
        for index, file in enumerate(track(files, progress)):
            rainy, clean = (_enlarged(picture, self.enlarge) for picture in file.read())
            if min(clean.shape[:2]) < WINDOW:
                raise DataError(
                    f"{file.clean} is {clean.shape[1]}x{clean.shape[0]}; pictures below "
                    f"{WINDOW} pixels cannot be scored, remove it"
                )
            yield file.name, (self.rain.apply(clean, index) if self.rain else rainy), clean


def _enlarged(picture: Image, times: int) -> Image:
    if times == 1:
        return picture
    size = picture.shape[1] * times, picture.shape[0] * times
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class EvaluationConfig:
    """The data sets of a quality table.

    Attributes:
        sets: data set by name, in the order of the table.
        data_root: folder to which the sources are relative.
    """

    sets: dict[str, TestSetConfig] = field(default_factory=dict)
    data_root: str = "data"

    def __post_init__(self) -> None:
        if not self.sets:
            raise ConfigError("sets is empty; name at least one data set")

    def only(self, names: Sequence[str]) -> EvaluationConfig:
        """Keep the sets with these names; raises ConfigError for a name that is not there."""
        for name in names:
            if name not in self.sets:
                raise ConfigError(f"data set {name!r}: unknown; {nearest(name, self.sets)}")
        return dataclasses.replace(self, sets={name: self.sets[name] for name in names})


@dataclass(frozen=True)
class PictureScore:
    """What one picture scored.

    Attributes:
        dataset: name of the set.
        picture: name of the rainy file, or of the clean one where rain is laid over it.
        before: quality of the rainy picture, by protocol.
        after: quality of the derained picture, by protocol.
    """

    dataset: str
    picture: str
    before: Mapping[Protocol, Quality]
    after: Mapping[Protocol, Quality]


class ScoredPicture(NamedTuple):
    """A score and its pictures, uint8 (H, W, 3) RGB each."""

    score: PictureScore
    rainy: Image
    clean: Image
    derained: Image


def score_pairs(
    derain: Derain, config: EvaluationConfig, progress: bool
) -> Iterator[ScoredPicture]:
    """Score every picture of ``config``, set by set, with no more than one of them in memory.

    Args:
        derain: takes and returns uint8 (H, W, 3) RGB.
        config: the data sets.
        progress: show a bar for each set on standard error.

    Raises:
        DataError: a set that is missing or has a wrong pair.
    """
    for name, test_set in config.sets.items():
        pictures = test_set.read_named(config.data_root, name if progress else None)
        for picture, rainy, clean in pictures:
            yield _score(derain, name, picture, rainy, clean)


def score_pictures(
    derain: Derain, config: EvaluationConfig, progress: bool
) -> Iterator[tuple[PictureScore, Image]]:
    """Score as :func:`score_pairs`; yields the score and the derained picture alone."""
    for scored in score_pairs(derain, config, progress):
        yield scored.score, scored.derained


def evaluate(derain: Derain, config: EvaluationConfig, progress: bool) -> tuple[QualityRow, ...]:
    """Score on every set of ``config``; two rows a set. Arguments as :func:`score_pictures`."""
    return mean_rows(score for score, _ in score_pictures(derain, config, progress))


def score_set(
    derain: Derain, name: str, pairs: Iterator[tuple[Image, Image]] | Pairs
) -> tuple[QualityRow, ...]:
    """Score on the ``(rainy, clean)`` pairs of one set: the rows ``rgb`` and ``y``."""
    return mean_rows(_score(derain, name, "", rainy, clean).score for rainy, clean in pairs)


def _score(derain: Derain, dataset: str, picture: str, rainy: Image, clean: Image) -> ScoredPicture:
    derained = derain(rainy)
    before, after = measure(rainy, clean), measure(derained, clean)
    return ScoredPicture(PictureScore(dataset, picture, before, after), rainy, clean, derained)


def mean_rows(scores: Iterable[PictureScore]) -> tuple[QualityRow, ...]:
    """Average scores set by set: two rows each, ``rgb`` and ``y``, in the order of the sets."""
    by_set: dict[str, list[PictureScore]] = {}
    for score in scores:
        by_set.setdefault(score.dataset, []).append(score)
    rows: list[QualityRow] = []
    for name, members in by_set.items():
        given = mean_quality([score.before for score in members])
        reached = mean_quality([score.after for score in members])
        rows.extend(
            QualityRow(
                dataset=name,
                images=len(members),
                protocol=protocol,
                input_psnr=given[protocol].psnr,
                input_ssim=given[protocol].ssim,
                psnr=reached[protocol].psnr,
                ssim=reached[protocol].ssim,
            )
            for protocol in PROTOCOLS
        )
    return tuple(rows)


def mean_quality(measured: Sequence[Mapping[Protocol, Quality]]) -> dict[Protocol, Quality]:
    """Average what :func:`edge_runtime.metrics.measure` says of several pictures.

    Identical pictures count as :data:`edge_runtime.metrics.IDENTICAL_DB` in the mean PSNR.
    """
    return {
        protocol: Quality(
            psnr=float(np.mean([counted_psnr(each[protocol]) for each in measured])),
            ssim=float(np.mean([each[protocol].ssim for each in measured])),
        )
        for protocol in PROTOCOLS
    }


def quality_table(rows: Sequence[QualityRow]) -> str:
    """Lay out rows as a Markdown table, input beside output."""
    lines = [
        "| data set | pictures | protocol "
        "| input PSNR | derained PSNR | input SSIM | derained SSIM |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row.dataset} | {row.images} | {row.protocol} | {row.input_psnr:.2f} "
            f"| {row.psnr:.2f} | {row.input_ssim:.4f} | {row.ssim:.4f} |"
        )
    return "\n".join(lines)
