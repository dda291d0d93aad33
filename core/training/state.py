"""The state of a run, with which it goes on exactly where it stopped, its lock and its time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from core.checkpoint import load_tensors, save_tensors
from core.errors import CheckpointError, ConfigError, disk_errors
from edge_runtime.files import write_atomically

T = TypeVar("T")

SCHEMA = 1
_KEY = "edge_derain.training_state"


@dataclass(frozen=True)
class Stateful:
    """What a run changes, by the names under which it is saved; no name is part of another's.

    Attributes:
        modules: such as ``network`` and ``average``.
        optimizers: their state must hold tensors only, as AdamW's does.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]


def save_state(path: Path, state: Stateful, progress: dict[str, Any]) -> None:
    """Write modules, optimizers, random state and ``progress``, atomically.

    The file that was there before becomes :func:`previous`, for the case that this one is torn.

    Args:
        path: the file.
        state: what to write.
        progress: JSON values such as the step, returned by :func:`load_state`.

    Raises:
        CheckpointError: the folder cannot be written to.
    """
    tensors = {"random.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    for name, module in state.modules.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in moments.items()}
    header = {"schema": SCHEMA, "progress": progress}
    if path.exists():
        with disk_errors(previous(path), CheckpointError):
            write_atomically(previous(path), path.read_bytes())
    save_tensors(path, tensors, {_KEY: json.dumps(header)})


def previous(path: Path) -> Path:
    """Return where the state before the one at ``path`` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path, state: Stateful) -> dict[str, Any]:
    """Put everything back and return ``progress``.

    Raises:
        CheckpointError: a missing or torn file, or one that belongs to another network.
    """
    tensors, progress = _read(path)
    try:
        for name, module in state.modules.items():
            module.load_state_dict(_below(tensors, f"{name}."))
        for name, optimizer in state.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            moments: dict[int, dict[str, Tensor]] = {}
            for place, value in _below(tensors, f"{name}.").items():
                index, _, key = place.partition(".")
                moments.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(tensors["random.torch"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise CheckpointError(f"{path}: belongs to another network ({cause})") from error
    return progress


def read_progress(path: Path) -> dict[str, Any]:
    """Read ``progress`` alone, wherever a torn file shows; errors as :func:`load_state`."""
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


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    size = len(prefix)
    return {key[size:]: value for key, value in tensors.items() if key.startswith(prefix)}


@contextlib.contextmanager
def resumable(begun: Path) -> Iterator[None]:
    """Let Ctrl-C inside the block say how to go on: with ``--resume`` where ``begun`` is there."""
    try:
        yield
    except KeyboardInterrupt:
        how = "with --resume goes on" if begun.exists() else "begins anew"
        raise KeyboardInterrupt(f"the same command {how}") from None


@contextlib.contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process, as far as the file system can lock.

    Raises:
        ConfigError: another process holds it.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield
        return
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"{folder}: another process trains in it; wait for it, or choose another --name"
                ) from None
        yield
    finally:
        os.close(descriptor)


class Stopwatch:
    """Counts from its making.

    Args:
        seconds: what was counted before.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._started = monotonic()
        self._before = seconds
        self._waited = 0.0
        self._lap = (self._started, 0.0)

    @property
    def seconds(self) -> float:
        """Seconds in all, with those counted before."""
        return self._before + monotonic() - self._started

    @property
    def waiting(self) -> float:
        """Share of the time since its making that was spent in :meth:`waits`, 0 to 1."""
        return _share(self._waited, monotonic() - self._started)

    def lap(self) -> float:
        """Return :attr:`waiting` of the time since the last call alone."""
        (start, waited), now = self._lap, monotonic()
        self._lap = (now, self._waited)
        return _share(self._waited - waited, now - start)

    def waits(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``, counting how long each of them takes to come."""
        waiting = iter(items)
        while True:
            start = monotonic()
            try:
                item = next(waiting)
            except StopIteration:
                return
            self._waited += monotonic() - start
            yield item


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
