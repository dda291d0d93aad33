"""Average the weights of checkpoints that went different ways from one start."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from core.checkpoint import Checkpoint
from core.config import to_plain
from core.errors import CheckpointError
from edge_runtime.errors import UsageError


def average(checkpoints: Sequence[Checkpoint], shares: Sequence[float] = ()) -> Checkpoint:
    """Mix networks into one of the same size (model soups: Wortsman et al., ICML 2022).

    It helps where one was trained on from the other, or both from the same start, so that a
    straight line between their weights stays good; networks of different starts average to
    nothing. Score the result before you trust it.

    Args:
        checkpoints: at least two, of the same architecture and config, in float32.
        shares: of each, above 0; they are divided by their sum. Equal ones where empty.

    Returns:
        A checkpoint with the name, role and recipe of the last one, one line longer, and the data
        of all. What it took to train is not known of a mixture.

    Raises:
        UsageError: fewer than two checkpoints, or shares that are not one for each, above 0.
        CheckpointError: one that differs in architecture or config, or is quantized.
    """
    shares = tuple(shares) or (1.0,) * len(checkpoints)
    if len(checkpoints) < 2:
        raise UsageError(f"average of {len(checkpoints)} checkpoint; name at least two")
    if len(shares) != len(checkpoints) or not all(share > 0 for share in shares):
        raise UsageError(
            f"shares {' '.join(f'{share:g}' for share in shares)} must be one above 0 for each of "
            f"{len(checkpoints)} checkpoints"
        )
    last = checkpoints[-1]
    for each in checkpoints:
        _check_same(each, last)
    parts = [share / sum(shares) for share in shares]
    shared = list(zip(parts, checkpoints, strict=True))
    weights = {
        key: torch.stack([part * each.weights[key].double() for part, each in shared])
        .sum(0)
        .to(value.dtype)
        for key, value in last.weights.items()
    }
    mixed = ", ".join(f"{part:.3g} of {_described(each)}" for part, each in shared)
    return dataclasses.replace(
        last,
        weights=weights,
        recipe=(*last.recipe, f"average: {mixed}"),
        data=tuple(sorted({name for each in checkpoints for name in each.data})),
        cost=None,
    )


def _described(checkpoint: Checkpoint) -> str:
    """Name a checkpoint with the last thing that was done to it."""
    return f"{checkpoint.name} ({checkpoint.recipe[-1]})" if checkpoint.recipe else checkpoint.name


def _check_same(checkpoint: Checkpoint, other: Checkpoint) -> None:
    if checkpoint.quantization or other.quantization:
        raise CheckpointError(f"{checkpoint.name}: is quantized; average the float32 checkpoints")
    if (checkpoint.architecture, checkpoint.config) != (other.architecture, other.config):
        raise CheckpointError(
            f"{checkpoint.name}: is {checkpoint.architecture} {to_plain(checkpoint.config)}, not "
            f"{other.architecture} {to_plain(other.config)}; average networks of one shape"
        )
    checkpoint.build()  # refuses weights that do not fit
