"""How much each layer suffers from int8, and which of them are better left in float."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from core.checkpoint import Checkpoint
from core.inference import pad_to_multiple
from core.mixture.sample import to_float
from core.progress import track
from core.quantization import Quantization
from core.quantized_graph import Placement

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
