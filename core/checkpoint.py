"""Checkpoints: weights, config and provenance in one safetensors file that rebuilds its model."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
from torch import Tensor, nn

from core.config import nearest, network_config
from core.errors import CheckpointError, disk_errors
from core.networks import ARCHITECTURES
from core.quantization import Quantization, fake_quantized, half_precision
from edge_runtime.errors import EdgeDerainError
from edge_runtime.files import write_atomically
from edge_runtime.models.records import from_plain, to_plain

SCHEMA = 1
SHIPPED = Path(__file__).parent / "checkpoints"
"""Folder of the checkpoints that are found by name. A built package has the students and the
teacher; those of the papers are in a clone of the project."""
_KEY = "edge_derain.checkpoint"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingCost:
    """The cost of training a network, the network that it started from included.

    Attributes:
        steps: optimizer steps.
        hours: from the first step to the last, validation included, pauses left out.
        hardware: what did it, such as ``2 CPU threads``.
    """

    steps: int
    hours: float
    hardware: str


@dataclass(frozen=True)
class Checkpoint:
    """A trained network.

    Attributes:
        name: what the model is called, such as ``small``.
        role: ``teacher`` or ``student``.
        architecture: key of :data:`core.networks.ARCHITECTURES`.
        config: instance of that architecture's config dataclass.
        weights: the module's state dict.
        recipe: one line for each step that made it, oldest first.
        data: names of the data sets that it was trained on.
        versions: package versions that it was trained with.
        cost: what the training took; None where nothing is known of it.
        quantization: the arithmetic that it runs in; None is float32.
        licence: what may be done with the weights, as whoever trained them says; may be empty.
    """

    name: str
    role: str
    architecture: str
    config: Any
    weights: dict[str, Tensor]
    recipe: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    cost: TrainingCost | None = None
    quantization: Quantization | None = None
    licence: str = ""

    @property
    def precision(self) -> Literal["fp32", "fp16", "int8"]:
        """Precision of the arithmetic."""
        return self.quantization.scheme if self.quantization else "fp32"

    def unquantized(self) -> Checkpoint:
        """Return the same weights in float32 arithmetic."""
        return dataclasses.replace(self, quantization=None)

    def build(self) -> nn.Module:
        """Build the module with these weights, in eval mode.

        With a quantization it computes what the quantized artifact computes, on float32 pictures.

        Raises:
            CheckpointError: weights or scales that do not fit the config; missing and unknown are
                named.
        """
        module = ARCHITECTURES[self.architecture].module(self.config)
        wanted = module.state_dict()
        for key in sorted(wanted.keys() | self.weights.keys()):
            if key not in self.weights or key not in wanted:
                problem = "missing from" if key not in self.weights else "unknown in"
                raise CheckpointError(f"{self.name}: weight {key!r} is {problem} the checkpoint")
            if wanted[key].shape != self.weights[key].shape:
                raise CheckpointError(
                    f"{self.name}: weight {key!r} is {list(self.weights[key].shape)}, "
                    f"but its config needs {list(wanted[key].shape)}"
                )
        module.load_state_dict(self.weights)
        if self.quantization and self.quantization.scheme == "int8":
            fake_quantized(module, self.quantization)
        elif self.quantization:
            half_precision(module)
        return module.eval()


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    header = {"schema": SCHEMA, **to_plain(dataclasses.replace(checkpoint, weights={}))}
    del header["weights"]
    for name in ("quantization", "licence"):
        if not header[name]:
            del header[name]
    save_tensors(path, checkpoint.weights, {_KEY: json.dumps(header)})


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the file that a shipped name, such as ``small``, or a path stands for.

    Anything with a folder separator or a suffix is a path. The folder of a run
    stands for the best checkpoint in it, which is said.

    Raises:
        CheckpointError: an unknown name; names the nearest and what ships.
    """
    path = Path(name_or_path)
    if not isinstance(name_or_path, str) or re.search(r"[/\\]|\.\w+$", name_or_path):
        return _best_of(path) if os.path.isdir(path) else path
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}
    if name_or_path not in shipped and os.path.isdir(path):
        return _best_of(path)
    if name_or_path not in shipped:
        hint = nearest(name_or_path, shipped) if shipped else f"none ship in {SHIPPED}"
        raise CheckpointError(
            f"checkpoint {name_or_path!r}: unknown; {hint.rstrip('?')}, or give a path; networks "
            "of the papers are in core/checkpoints of a clone"
        )
    return shipped[name_or_path]


@functools.cache
def _best_of(folder: Path) -> Path:
    best = folder / "best.safetensors"
    if not os.path.isfile(best):
        raise CheckpointError(f"{folder}: is a folder without {best.name}; name a checkpoint in it")
    _log.warning("%s: taking %s in it", folder, best.name)
    return best


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Read a checkpoint by path or shipped name; nothing is unpickled.

    Raises:
        CheckpointError: an unknown name, a missing or torn file, or one that is not a checkpoint
            of this project.
    """
    path = find_checkpoint(name_or_path)
    weights, metadata = load_tensors(path)
    try:
        header = json.loads(metadata[_KEY])
        if header.pop("schema") > SCHEMA:
            raise CheckpointError("made by a newer edge-derain; upgrade to read it")
        header["config"] = network_config(header["architecture"], header["config"])
        for key in ("recipe", "data"):
            header[key] = tuple(header[key])
        if header.get("cost") is not None:
            header["cost"] = from_plain(TrainingCost, header["cost"], "cost")
        if header.get("quantization") is not None:
            header["quantization"] = from_plain(
                Quantization, header["quantization"], "quantization"
            )
        return Checkpoint(weights=weights, **header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: safetensors without the header of an edge-derain checkpoint ({error})"
        ) from error
    except EdgeDerainError as error:
        raise CheckpointError(f"{path}: {error}") from error


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and string metadata as safetensors, atomically.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    data = safetensors.torch.save(contiguous, dict(metadata))
    with disk_errors(path, CheckpointError):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), data)


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`save_tensors` wrote.

    Raises:
        CheckpointError: a missing, torn or foreign file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path}: torn, or not a safetensors file; copy it again ({error})"
        ) from error
