"""Judge networks on the validation sets of a training config, as training does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from core.inference import derain
from core.progress import track
from core.training.config import TrainConfig
from core.training.train import SCORE_CAP_DB
from edge_runtime.metrics import IDENTICAL_DB, psnr


class Judged(NamedTuple):
    """What a network reached.

    Attributes:
        psnr: rgb PSNR in dB by validation set.
        score: their mean in dB, each counted up to :data:`core.training.train.SCORE_CAP_DB`.
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
        means = {}
        for name, pairs in self._sets.items():
            shown = track(pairs, f"{title}: {name}" if self._progress else None)
            # Only what is judged by: SSIM would take longer than the network.
            found = [psnr(derain(network, rainy, self._multiple), clean) for rainy, clean in shown]
            means[name] = sum(min(value, IDENTICAL_DB) for value in found) / len(found)
        capped = [min(value, SCORE_CAP_DB) for value in means.values()]
        return Judged(means, sum(capped) / len(capped))
