"""Score anything that derains pictures on named data sets, under both protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.config_errors import nearest
from core.data import Image, SourceConfig, find_pairs
from core.errors import ConfigError, DataError
from core.progress import track
from core.synthesis import FixedRain
from edge_runtime.card import QualityRow
from edge_runtime.metrics import PROTOCOLS, Protocol, Quality, measure

Derain = Callable[[Image], Image]
Pairs = Sequence[tuple[Image, Image]]
WINDOW = 11
"""Height and width of the SSIM window, below which a picture has no SSIM."""
IDENTICAL_DB = 100.0
"""What a picture without any error counts in a mean; its own PSNR is infinite."""


@dataclass(frozen=True)
class TestSetConfig:
    """One data set of a quality table.

    Attributes:
        source: the pictures.
        rain: lay this rain over the clean pictures instead of taking the rainy ones.
    """

    source: SourceConfig
    rain: FixedRain | None = None

    def read(self, data_root: str, progress: str | None = None) -> Iterator[tuple[Image, Image]]:
        """Read ``(rainy, clean)``, uint8 (H, W, 3) RGB each; raises DataError."""
        files = find_pairs(self.source, data_root)
        for index, file in enumerate(track(files, progress)):
            rainy, clean = file.read()
            if min(clean.shape[:2]) < WINDOW:
                raise DataError(
                    f"{file.clean} is {clean.shape[1]}x{clean.shape[0]}; pictures below "
                    f"{WINDOW} pixels cannot be scored, remove it"
                )
            yield (self.rain.apply(clean, index) if self.rain else rainy), clean


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


def evaluate(derain: Derain, config: EvaluationConfig, progress: bool) -> tuple[QualityRow, ...]:
    """Score on every set of ``config``, reading the pictures one after the other.

    Args:
        derain: takes and returns uint8 (H, W, 3) RGB.
        config: the data sets.
        progress: show a bar for each set on standard error.

    Returns:
        Two rows a set, ``rgb`` and ``y``.

    Raises:
        DataError: a set that is missing or has a wrong pair.
    """
    rows: list[QualityRow] = []
    for name, test_set in config.sets.items():
        pairs = test_set.read(config.data_root, name if progress else None)
        rows.extend(score_set(derain, name, pairs))
    return tuple(rows)


def score_set(
    derain: Derain, name: str, pairs: Iterator[tuple[Image, Image]] | Pairs
) -> tuple[QualityRow, QualityRow]:
    """Score on one set: means of the pictures' PSNR and SSIM, as ``(rgb, y)`` rows."""
    before: list[Mapping[Protocol, Quality]] = []
    after: list[Mapping[Protocol, Quality]] = []
    for rainy, clean in pairs:
        before.append(measure(rainy, clean))
        after.append(measure(derain(rainy), clean))
    given, reached = mean_quality(before), mean_quality(after)
    rgb, y = (
        QualityRow(
            dataset=name,
            images=len(after),
            protocol=protocol,
            input_psnr=given[protocol].psnr,
            input_ssim=given[protocol].ssim,
            psnr=reached[protocol].psnr,
            ssim=reached[protocol].ssim,
        )
        for protocol in PROTOCOLS
    )
    return rgb, y


def mean_quality(measured: Sequence[Mapping[Protocol, Quality]]) -> dict[Protocol, Quality]:
    """Average what :func:`edge_runtime.metrics.measure` says of several pictures.

    Identical pictures count as :data:`IDENTICAL_DB` in the mean PSNR.
    """
    return {
        protocol: Quality(
            psnr=float(np.mean([min(each[protocol].psnr, IDENTICAL_DB) for each in measured])),
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
