"""Mixtures as safetensors files, with what they were learned from."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from core.checkpoint import load_tensors, save_tensors
from core.errors import DataError
from core.papers.gmm.learn import PriorConfig
from core.papers.gmm.mixture import Mixture
from core.papers.gmm.patches import SIDE

SHIPPED = Path(__file__).parent / "background.safetensors"
"""The background that ships; ``configs/gmm_prior.yaml`` makes it."""
_KEY = "edge_derain.gmm"
_TENSORS = ("weights", "means", "covariances")


def save_mixture(path: str | Path, mixture: Mixture, config: PriorConfig) -> None:
    """Write a mixture atomically, with the sources and the size of what it was learned from.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    origin = {
        "data": [source.name for source in config.sources],
        "patches": config.patches,
        "steps": config.steps,
        "seed": config.seed,
    }
    tensors = {name: torch.from_numpy(getattr(mixture, name)) for name in _TENSORS}
    save_tensors(path, tensors, {_KEY: json.dumps(origin)})


def load_background(path: str | Path = SHIPPED) -> Mixture:
    """Read a mixture of 8x8 patches.

    Raises:
        CheckpointError: a missing or torn file.
        DataError: another file, or a mixture of other patches.
    """
    tensors, metadata = load_tensors(path)
    if _KEY not in metadata or set(tensors) != set(_TENSORS):
        raise DataError(f"{path}: no background mixture; make one with: derain gmm-prior -o {path}")
    mixture = Mixture(**{name: tensor.numpy() for name, tensor in tensors.items()})
    if mixture.means.shape[1] != SIDE * SIDE:
        raise DataError(
            f"{path}: patches of {mixture.means.shape[1]} pixels, and {SIDE}x{SIDE} are needed; "
            f"make it again with: derain gmm-prior -o {path}"
        )
    return mixture
