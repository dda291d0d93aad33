"""Sensitivity to int8: scores of networks, the harm of each layer, and layers left in float."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.evaluation.score import Means, validation_score
from core.inference import derain, pad_to_multiple
from core.mixture.dataset import to_float
from core.progress import track
from core.quantization import Placement, Quantization
from core.training.config import TrainConfig
from edge_runtime.metrics import IDENTICAL_DB, psnr

_BATCH = 16


@dataclass(frozen=True)
class Harm:
    """What int8 in one layer alone does to the derained pictures.

    Attributes:
        layer: its name.
        error: mean squared difference to the network in float, for pixels in [0, 1].
    """

    layer: str
    error: float


@torch.no_grad()
def measure_harm(checkpoint: Checkpoint, crops: Tensor, progress: bool) -> list[Harm]:
    """Quantize one layer at a time and compare with float, worst layer first.

    Args:
        checkpoint: quantized to int8.
        crops: rainy, uint8 (N, 3, H, W) RGB.
        progress: show a bar on standard error.
    """
    record = checkpoint.quantization
    multiple = checkpoint.config.size_multiple
    batches = [pad_to_multiple(to_float(batch), multiple) for batch in torch.split(crops, _BATCH)]
    network = checkpoint.unquantized().build()
    wanted = [network(batch) for batch in batches]
    layers = tuple(record.weights) if record else ()
    harms = []
    for layer in track(layers, "harm of each layer" if progress else None):
        alone = keep_in_float(checkpoint, tuple(name for name in layers if name != layer)).build()
        errors = [
            (alone(batch) - float_result).square().mean()
            for batch, float_result in zip(batches, wanted, strict=True)
        ]
        harms.append(Harm(layer, float(torch.stack(errors).mean())))
    return sorted(harms, key=lambda harm: -harm.error)


def keep_in_float(checkpoint: Checkpoint, layers: tuple[str, ...]) -> Checkpoint:
    """Return an int8 checkpoint with ``layers`` in float as well; the other scales stay."""
    record = checkpoint.quantization
    if record is None or not layers:
        return checkpoint
    weights = {name: scales for name, scales in record.weights.items() if name not in layers}
    placement = Placement(checkpoint.unquantized().build(), weights)
    activations = {name: record.activations[name] for name in placement.stored.values()}
    float_layers = (*record.float_layers, *layers)
    quantization = Quantization("int8", activations, weights, float_layers)
    return dataclasses.replace(checkpoint, quantization=quantization)


class Judged(NamedTuple):
    """What a network reached.

    Attributes:
        psnr: rgb PSNR in dB by validation set.
        score: that of training in dB, :func:`core.evaluation.score.validation_score`.
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
        self._configs = config.validation
        self._sets = {
            name: [pair[1:] for pair in test_set.read(config.data_root, name if progress else None)]
            for name, test_set in config.validation.items()
        }
        self._before = {
            name: _mean([psnr(rainy, clean) for rainy, clean in pairs])
            for name, pairs in self._sets.items()
        }

    def __call__(self, network: nn.Module, title: str, size_multiple: int = 1) -> Judged:
        """Score ``network``, which takes and returns float (N, 3, H, W), under a bar ``title``.

        One that asks for another ``size_multiple`` gets pictures of both.
        """
        multiple, means = math.lcm(self._multiple, size_multiple), {}
        for name, pairs in self._sets.items():
            shown = track(pairs, f"{title}: {name}" if self._progress else None)
            # Only what is judged by: SSIM would take longer than the network.
            found = [psnr(derain(network, rainy, multiple), clean) for rainy, clean in shown]
            means[name] = _mean(found)
        both = {name: Means(self._before[name], mean) for name, mean in means.items()}
        return Judged(means, validation_score(both, self._configs))


def _mean(found: Sequence[float]) -> float:
    return sum(min(value, IDENTICAL_DB) for value in found) / len(found)
