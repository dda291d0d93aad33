"""Scores of anything that derains pictures, on data sets from configs or by published names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from core.config import build_config, nearest, read_config
from core.errors import ConfigError, DataError, check_bounds
from core.pairs import Image, SourceConfig, find_pairs
from core.progress import track
from core.rain.drawn import FixedRain
from edge_runtime.errors import UsageError
from edge_runtime.metrics import PROTOCOLS, Protocol, Quality, counted_psnr, measure
from edge_runtime.models.card import QualityRow
from edge_runtime.pictures.sources import find_pictures

Derain = Callable[[Image], Image]
"""Takes and returns uint8 (H, W, 3) RGB."""
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
        weight: how often the set counts in the score that training is judged by.
    """

    source: SourceConfig
    rain: FixedRain | None = None
    enlarge: int = 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, enlarge=1)
        if not self.weight > 0:
            raise ConfigError(f"weight {self.weight} must be above 0; leave the set out instead")

    @property
    def dry(self) -> bool:
        """Whether the pictures are without rain, so that nothing of them may change."""
        return self.source.layout == "clean" and self.rain is None

    def read(
        self, data_root: str, progress: str | None = None
    ) -> Iterator[tuple[str, Image, Image]]:
        """Read ``(file name, rainy, clean)``, uint8 (H, W, 3) RGB each; raises DataError."""
        files = find_pairs(self.source, data_root)
        for index, file in enumerate(track(files, progress)):
            rainy, clean = file.read()
            if self.enlarge > 1:
                size = clean.shape[1] * self.enlarge, clean.shape[0] * self.enlarge
                large = [cv2.resize(p, size, interpolation=cv2.INTER_CUBIC) for p in (rainy, clean)]
                rainy, clean = (picture.astype(np.uint8, copy=False) for picture in large)
            if min(clean.shape[:2]) < WINDOW:
                raise DataError(
                    f"{file.clean} is {clean.shape[1]}x{clean.shape[0]}; pictures below "
                    f"{WINDOW} pixels cannot be scored, remove it"
                )
            yield file.name, (self.rain.apply(clean, index) if self.rain else rainy), clean


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

    @classmethod
    def read(cls, path: str, data_root: str | None = None) -> EvaluationConfig:
        """Read a YAML file with ``sets``, or one of a training, for its ``validation``.

        Args:
            path: of the file.
            data_root: in place of that of the file, where given.

        Raises:
            ConfigError: what is wrong with it, in one line.
        """
        values = read_config(path)
        if "sets" not in values and "validation" in values:
            values = {"sets": values["validation"], "data_root": values.get("data_root", "data")}
        if data_root:
            values["data_root"] = data_root
        try:
            return build_config(cls, values, "")
        except ConfigError as error:
            raise ConfigError(f"{path}: {str(error).removeprefix(': ')}") from error

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
        pictures = test_set.read(config.data_root, name if progress else None)
        for picture, rainy, clean in pictures:
            derained = derain(rainy)
            score = PictureScore(name, picture, measure(rainy, clean), measure(derained, clean))
            yield ScoredPicture(score, rainy, clean, derained)


def evaluate(derain: Derain, config: EvaluationConfig, progress: bool) -> tuple[QualityRow, ...]:
    """Score on every set of ``config``; two rows a set. Arguments as :func:`score_pairs`."""
    return mean_rows(scored.score for scored in score_pairs(derain, config, progress))


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


PUBLISHED_SETS = (
    "rain100l",
    "rain100h",
    "rain200l",
    "rain200h",
    "rain12",
    "rain800",
    "rain1400",
    "rain13k",
    "spa",
)
"""Yang et al. 2017 (the first four), Li et al. 2016, Zhang et al. 2017, Fu et al. 2017, Zamir et
al. 2021 (test sets of five others), Wang et al. 2019."""
_TEST_FOLDERS = ("test", "testing", "test_syn")
_RAINY_BESIDE_ONE_CLEAN = {"rain100l": "rainy_L", "rain100h": "rainy_H"}


def published_sets(name: str, root: str) -> EvaluationConfig:
    """Say how to read a published test set.

    Args:
        name: one of :data:`PUBLISHED_SETS`, in any case.
        root: folder of its pictures, or the one above with a ``test`` folder beside ``train``.

    Returns:
        One set called ``name``; or, for the folder of all test sets of ``rain13k``, each of them,
        such as ``rain13k/Test100``. Folders are looked at, files are not: what is wrong with them
        is said when the set is read.

    Raises:
        UsageError: an unknown name; gives the nearest and all there are.
    """
    known = name.lower()
    if known not in PUBLISHED_SETS:
        listed = ", ".join(PUBLISHED_SETS)
        hint = nearest(known, PUBLISHED_SETS)
        hint = hint if hint.endswith(listed) else f"{hint} (there are {listed})"
        raise UsageError(f"--dataset {name!r}: unknown; {hint}")
    folders = _folders(Path(root))
    folder = next((folders[test] for test in _TEST_FOLDERS if test in folders), Path(root))
    parts = _folders(folder).values() if known == "rain13k" else ()
    parted = {f"{known}/{part.name}": part for part in parts if "input" in _folders(part)}
    sources = {title: _source(known, place) for title, place in (parted or {known: folder}).items()}
    return EvaluationConfig(
        {title: TestSetConfig(source) for title, source in sources.items()}, data_root="."
    )


def _source(name: str, folder: Path) -> SourceConfig:
    rainy = _RAINY_BESIDE_ONE_CLEAN.get(name)
    if rainy and (folder / rainy).is_dir():
        return SourceConfig("folders", rainy=str(folder / rainy), clean=str(folder / "clean"))
    if name == "rain800" and folder.is_dir() and find_pictures(folder):
        return SourceConfig("side_by_side", root=str(folder))
    return SourceConfig("published", root=str(folder))


def _folders(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
