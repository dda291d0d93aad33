"""Pruning: a narrower network of the same kind, whose config says its shapes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from compress.distillation import DistillConfig, distill
from compress.pruning.dependencies import find_axes
from compress.pruning.importance import Importance, l2_importance, read_batches, taylor_importance
from compress.pruning.narrow import Goal, narrow
from compress.pruning.shapes import pruned_config
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.errors import CheckpointError, ConfigError
from core.mixture.dataset import Sample
from core.training.train import TrainResult
from edge_runtime.models.records import to_plain

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneConfig:
    """What to prune a network to.

    Attributes:
        target_macs: share of the multiply-accumulates per pixel to keep at most, within (0, 1); 0
            sets no such target.
        target_bytes: bytes of the weights in fp32 to keep at most; 0 sets no such target.
        stages: passes of a recurrent network to keep; 0 keeps all. They share their weights, so
            this saves multiply-accumulates, which count towards ``target_macs``, and no bytes.
        importance: what says which channels go: ``l2`` of their weights, or ``taylor``, what the
            loss would change by; ``auto`` is ``taylor`` where there is data.
        rounds: parts in which the cost falls, each by the same factor, with training after each.
        batches: of the training data, for ``taylor``.

    Raises:
        ConfigError: a value outside its range, two targets, or nothing to do.
    """

    target_macs: float = 0.0
    target_bytes: int = 0
    stages: int = 0
    importance: Importance | Literal["auto"] = "auto"
    rounds: int = 3
    batches: int = 32

    def __post_init__(self) -> None:
        if self.target_macs and self.target_bytes:
            raise ConfigError(
                f"target_macs {self.target_macs} and target_bytes {self.target_bytes}: give one"
            )
        if not (self.target_macs or self.target_bytes or self.stages):
            raise ConfigError("nothing to prune to; give target_macs, target_bytes or stages")
        if not 0 <= self.target_macs < 1:
            raise ConfigError(
                f"target_macs {self.target_macs} is not within (0, 1); it is the share to keep"
            )
        for name, least in (("target_bytes", 0), ("stages", 0), ("rounds", 1), ("batches", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least {least}")


@dataclass(frozen=True)
class Pruned:
    """What pruning came to.

    Attributes:
        checkpoint: the pruned network; where training was stopped, as far as it came.
        trained: how the last training ended, None without training.
    """

    checkpoint: Checkpoint
    trained: TrainResult | None


def prune(
    place: str | Path,
    config: PruneConfig,
    training: DistillConfig | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Pruned:
    """Prune a network in rounds, and train it after each.

    Channels that must go together are one; all are ranked against each other by importance, and
    the least important go first, eight at a time, until the cost is at most what is aimed at.

    Args:
        place: checkpoint, by shipped name or path; it stays as it is.
        config: what to prune it to.
        training: data, and a number of steps for each round. The rounds are runs of their own,
            ``round1``, ... in the folder ``out``/``name``; what the training starts from is
            filled in, the teacher is the unpruned network where none is named, and ``name`` is
            that of the result. None prunes at once, by l2, and trains nothing.
        resume: go on with the rounds of this name that were interrupted.
        progress: show bars on standard error.

    Raises:
        CheckpointError: a checkpoint that cannot be read, or is quantized.
        ConfigError: a target out of reach (says the smallest within it); ``taylor`` without
            training; ``stages`` for another network, or no fewer than it has; a folder that
            holds rounds already.
        DataError: data that is missing or wrong.
        TrainingError: as :meth:`core.training.train.Trainer.run`.
    """
    checkpoint = load_checkpoint(place)
    if checkpoint.quantization:
        raise CheckpointError(
            f"{place}: is {checkpoint.precision} already; prune the checkpoint that it was made of"
        )
    if config.importance == "taylor" and training is None:
        raise ConfigError(
            "importance taylor needs data for its gradients; give --config FILE, or take l2"
        )
    goal = _goal(checkpoint, config)
    current = _cut_stages(checkpoint, config.stages)
    batches: Sequence[Sample] = ()
    if goal:
        _check_reach(current, config, goal)
    if training:
        current = replace(current, name=training.name)
        _check_free(training, resume)
        training = replace(training, teacher=training.teacher or str(place))
        if goal and config.importance != "l2":
            batches = read_batches(training, config.batches, progress)
    rounds = config.rounds if goal and training else 1
    trained: TrainResult | None = None
    for index in range(rounds):
        if goal:
            current = _narrowed(current, goal, rounds - index, training, batches, progress)
        if training:
            current, trained = _train_round(current, index + 1, training, resume, progress)
            if trained.stopped_by is not None:
                return Pruned(current, trained)
    if training is None:
        current = _noted(current, "prune: not trained afterwards")
        _log.warning(
            "%s: pruned without training, which costs quality; give --config FILE with data",
            checkpoint.name,
        )
    return Pruned(current, trained)


def foresee(checkpoint: Checkpoint, config: PruneConfig) -> Checkpoint:
    """Return about what :func:`prune` will make of a network, without data and training.

    The cost is within the target as it will be; which layers lose the channels depends on weights
    and data, so that widths may come out a little different.

    Args:
        checkpoint: the network, trained or not.
        config: what to prune it to.

    Raises:
        ConfigError: a target out of reach, or stages that are not there; as :func:`prune`.
    """
    goal = _goal(checkpoint, config)
    current = _cut_stages(checkpoint, config.stages)
    if not goal:
        return current
    _check_reach(current, config, goal)
    return _narrowed(current, goal, 1, None, (), progress=False)


def pruning_options(checkpoint: Checkpoint, name: str) -> list[str]:
    """Return the options of a training run that pruning itself knows; others may follow them.

    Args:
        checkpoint: the network to prune.
        name: of the result.
    """
    network = json.dumps(to_plain(checkpoint.config))
    return [
        f"--name={name}",
        f"--architecture={checkpoint.architecture}",
        f"--network={network}",
        f"--role={checkpoint.role}",
    ]


def _goal(checkpoint: Checkpoint, config: PruneConfig) -> Goal | None:
    if config.target_bytes:
        return Goal("bytes", config.target_bytes)
    if config.target_macs:
        whole = Goal("MACs per pixel", 1).cost(checkpoint.build(), checkpoint.config.size_multiple)
        return Goal("MACs per pixel", config.target_macs * whole)
    return None


def _cut_stages(checkpoint: Checkpoint, stages: int) -> Checkpoint:
    if not stages:
        return checkpoint
    if not hasattr(checkpoint.config, "stages"):
        raise ConfigError(
            f"stages {stages}: {checkpoint.name} is a {checkpoint.architecture}, which has none; "
            "leave it out"
        )
    before = checkpoint.config.stages
    if stages >= before:
        raise ConfigError(f"stages {stages}: {checkpoint.name} has {before}; take fewer")
    cut = replace(checkpoint, config=replace(checkpoint.config, stages=stages))
    return _noted(cut, f"prune: {before} to {stages} stages")


def _check_reach(checkpoint: Checkpoint, config: PruneConfig, goal: Goal) -> None:
    least = goal.smallest(checkpoint.build(), checkpoint.config.size_multiple)
    if least <= goal.limit:
        return
    if goal.unit == "bytes":
        raise ConfigError(
            f"target_bytes {config.target_bytes}: the smallest within reach of {checkpoint.name} "
            f"is {least:.0f}"
        )
    share = least / goal.limit * config.target_macs
    raise ConfigError(
        f"target_macs {config.target_macs}: the smallest within reach of {checkpoint.name} is "
        f"{share + 0.0005:.3f}, {least:.0f} {goal.unit}"
    )


def _check_free(training: DistillConfig, resume: bool) -> None:
    folder = Path(training.out) / training.name
    if folder.exists() and not resume:
        raise ConfigError(
            f"{folder} exists already; add --resume to go on with it or choose another name"
        )


def _narrowed(
    checkpoint: Checkpoint,
    goal: Goal,
    rounds: int,
    training: DistillConfig | None,
    batches: Sequence[Sample],
    progress: bool,
) -> Checkpoint:
    """Go the first of ``rounds`` steps, each by the same factor, towards the goal."""
    net, multiple = checkpoint.build(), checkpoint.config.size_multiple
    before = goal.cost(net, multiple)
    axes = find_axes(net, multiple)
    if training and batches:
        kind, importance = "taylor", taylor_importance(net, axes, batches, training.loss, progress)
    else:
        kind, importance = "l2", l2_importance(axes)
    limit = goal.limit * (before / goal.limit) ** (1 - 1 / rounds)
    narrow(net, axes, importance, Goal(goal.unit, limit), multiple)
    line = f"prune: by {kind}, {before:.0f} to {goal.cost(net, multiple):.0f} {goal.unit}"
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    return _noted(replace(checkpoint, config=pruned_config(net), weights=weights), line)


def _train_round(
    checkpoint: Checkpoint,
    number: int,
    training: DistillConfig,
    resume: bool,
    progress: bool,
) -> tuple[Checkpoint, TrainResult]:
    folder = Path(training.out) / training.name
    first = folder / f"pruned{number}.safetensors"
    save_checkpoint(first, checkpoint)
    config = replace(
        training,
        name=f"round{number}",
        out=str(folder),
        architecture=checkpoint.architecture,
        network=to_plain(checkpoint.config),
        init=str(first),
    )
    started = (folder / config.name / "state.safetensors").exists()
    result = distill(config, resume and started, progress)
    if result.stopped_by is not None:
        return checkpoint, result
    best = load_checkpoint(result.folder / "best.safetensors")
    return replace(best, name=checkpoint.name), result


def _noted(checkpoint: Checkpoint, line: str) -> Checkpoint:
    return replace(checkpoint, recipe=(*checkpoint.recipe, line))
