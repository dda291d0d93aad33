"""Judge networks on the validation sets of a training config, as training does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from core.evaluate import score_set
from core.inference import derain
from core.progress import track
from core.train import SCORE_CAP_DB
from core.train_config import TrainConfig


class Judged(NamedTuple):
    """What a network reached.

    Attributes:
        psnr: rgb PSNR in dB by validation set.
        score: their mean in dB, each counted up to :data:`core.train.SCORE_CAP_DB`.
    """

    psnr: Mapping[str, float]
    score: float


class Judge:
    """Scores networks of one size multiple on the validation sets, which it holds in memory.

    Raises:
        DataError: a set that is missing or has a wrong pair.
    """

    def __init__(self, config: TrainConfig, size_multiple: int, progress: bool) -> None:
        self._multiple, self._progress = size_multiple, progress
        self._sets = {
            name: list(test_set.read(config.data_root, name if progress else None))
            for name, test_set in config.validation.items()
        }

    def __call__(self, network: nn.Module, title: str) -> Judged:
        """Score ``network``, which takes and returns float (N, 3, H, W), under a bar ``title``."""
        psnr = {}
        for name, pairs in self._sets.items():
            shown = track(pairs, f"{title}: {name}" if self._progress else None)
            rows = score_set(
                lambda rainy: derain(network, rainy, self._multiple), name, iter(shown)
            )
            psnr[name] = next(row.psnr for row in rows if row.protocol == "rgb")
        capped = [min(value, SCORE_CAP_DB) for value in psnr.values()]
        return Judged(psnr, sum(capped) / len(capped))
