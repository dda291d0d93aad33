"""Everything that a run needs to go on exactly where it stopped, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from core.checkpoint import load_tensors, save_tensors
from core.errors import CheckpointError

SCHEMA = 1
_KEY = "edge_derain.training_state"


def save_state(
    path: Path,
    *,
    network: nn.Module,
    average: nn.Module,
    optimizer: Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write network, moving average, optimizer, random state and ``progress``, atomically.

    Args:
        path: the file.
        network: the network in training.
        average: the moving average of its weights.
        optimizer: its state must hold tensors only, as AdamW's does.
        progress: JSON values such as the step, returned by :func:`load_state`.
    """
    tensors = {"random.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    tensors |= {f"network.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    header = {"schema": SCHEMA, "progress": progress}
    save_tensors(path, tensors, {_KEY: json.dumps(header)})


def load_state(
    path: Path, *, network: nn.Module, average: nn.Module, optimizer: Optimizer
) -> dict[str, Any]:
    """Put everything back and return ``progress``.

    Raises:
        CheckpointError: a missing or torn file, or one that belongs to another network.
    """
    tensors, progress = _read(path)
    try:
        network.load_state_dict(_below(tensors, "network."))
        average.load_state_dict(_below(tensors, "average."))
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": _moments(tensors), "param_groups": groups})
        torch.set_rng_state(tensors["random.torch"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise CheckpointError(f"{path}: belongs to another network ({cause})") from error
    return progress


def read_progress(path: Path) -> dict[str, Any]:
    """Read ``progress`` alone; errors as :func:`load_state`."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, metadata = load_tensors(path)
    try:
        header = json.loads(metadata[_KEY])
        if header["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path}: training state of schema {header['schema']}, this version reads {SCHEMA}"
            )
        return tensors, dict(header["progress"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a training state of edge-derain") from error


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return state


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    size = len(prefix)
    return {key[size:]: value for key, value in tensors.items() if key.startswith(prefix)}
