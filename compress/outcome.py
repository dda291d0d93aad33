"""Outcome of an operation on a checkpoint: its score, costs and time, before and after."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import nn

from compress.cost import checkpoint_bytes, macs_per_pixel
from compress.distillation import DistillConfig
from compress.quantization.sensitivity import Judge
from compress.teacher import load_teacher
from core.checkpoint import Checkpoint

_SIDE, _RUNS = 256, 5


@dataclass(frozen=True)
class Worth:
    """What a checkpoint is worth.

    Attributes:
        name: Of the checkpoint.
        score: Of training in dB; None without data.
        macs: Multiply-accumulates per pixel. ``bytes``: about, of its ONNX file.
        network: In float, to be timed. ``multiple``: of the sizes of its pictures.
    """

    name: str
    score: float | None
    macs: float
    bytes: int
    network: nn.Module
    multiple: int


def worth(checkpoint: Checkpoint, score: float | None = None) -> Worth:
    """Count a checkpoint, of which the score is known or not."""
    net, multiple = checkpoint.unquantized().build(), checkpoint.config.size_multiple
    macs = macs_per_pixel(net, multiple)
    return Worth(checkpoint.name, score, macs, checkpoint_bytes(checkpoint), net, multiple)


def trained_outcome(
    training: DistillConfig,
    before: Checkpoint | None,
    after: Checkpoint,
    score: float | None,
    path: Path,
) -> tuple[str, str]:
    """Score what a training began with and its teacher as it scored its own network.

    Args:
        training: Names the validation sets and the teacher.
        before: What it began with; None where that was nothing.
        after: What it made, and ``path`` the file of that; ``score`` is that of the training.
    """
    judge = Judge(training, after.config.size_multiple, progress=True)

    def scored(network: nn.Module, name: str, multiple: int) -> float:
        return judge(network, name, multiple).score

    first = teacher = None
    if before:
        first = worth(before, scored(before.build(), before.name, before.config.size_multiple))
    if training.teacher:
        wise = load_teacher(training.teacher, training.distill.views)
        teacher = wise.name, scored(wise, "teacher", wise.size_multiple)
    return outcome_lines(first, worth(after, score), path, teacher)


def outcome_lines(
    before: Worth | None, after: Worth, path: Path, teacher: tuple[str, float] | None = None
) -> tuple[str, str]:
    """Say in one line what came of an operation, and in one what comes next.

    Args:
        before: What it began with; None where that was nothing.
        after: What it made, and ``path`` the file of that.
        teacher: Its name and score.
    """
    both = [before, after] if before else [after]
    parts = []
    if after.score is not None:
        score = _to([None if each.score is None else f"{each.score:+.2f}" for each in both])
        taught = f" (teacher {teacher[0]} {teacher[1]:+.2f})" if teacher else ""
        parts.append(f"{score} dB{taught}")
    parts += [
        f"{_to([f'{each.macs / 1000:.3f}' for each in both])} kMAC/pixel",
        f"about {_to([f'{each.bytes / 1000:.1f}' for each in both])} kB as ONNX",
        f"{_to([f'{each:.1f}' for each in _milliseconds(both)])} ms (torch in float, one thread, "
        f"{_SIDE} x {_SIDE}, median of {_RUNS}; edge-report times artifacts)",
    ]
    named = str(path) if path.suffix or path.parent.name else f"./{path}"
    return (
        f"{after.name}: {', '.join(parts)}: {path}",
        f"next: derain-export onnx {shlex.quote(named)} -o artifacts",
    )


def _to(values: Sequence[str | None]) -> str:
    return " to ".join(value for value in values if value is not None)


@torch.inference_mode()
def _milliseconds(both: Sequence[Worth]) -> list[float]:
    """Time networks in turns, so that what else the machine does is shared fairly."""
    threads = torch.get_num_threads()
    times: list[list[float]] = [[] for _ in both]
    try:
        torch.set_num_threads(1)
        for _ in range(_RUNS + 1):
            for each, taken in zip(both, times, strict=True):
                side = -(-_SIDE // each.multiple) * each.multiple
                picture = torch.rand(1, 3, side, side)
                start = perf_counter()
                each.network(picture)
                taken.append(1000 * (perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    return [median(taken[1:]) for taken in times]  # the first one warms up
