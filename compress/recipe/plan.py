"""What a recipe will cost, worked out without data and without writing a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from compress.cost import macs_per_pixel
from compress.distill import DistillConfig
from compress.footprint import Precision, artifact_bytes
from compress.prune.prune import PruneConfig, foresee
from compress.recipe.pipeline import Pipeline
from compress.recipe.recipe import QuantizeConfig, Recipe, Step
from compress.recipe.records import Record, StepFiles
from compress.recipe.speed import PASSES, training_speed
from compress.teacher import find_teachers
from core.checkpoint import Checkpoint, load_checkpoint
from core.config import network_config
from core.networks import ARCHITECTURES


@dataclass(frozen=True)
class Planned:
    """One step of a plan.

    Attributes:
        step: what it is.
        state: ``finished``, ``goes on``, ``to do``, or ``again: `` with the reason.
        parameters: of its result; after pruning about, as ``macs_per_pixel`` and ``bytes``.
        macs_per_pixel: multiply-accumulates per input pixel.
        bytes: of the ONNX file that its result becomes, about.
        training_macs: of all its optimizer steps, the teacher included.
        seconds: of its training, measured where it is finished, otherwise estimated.
    """

    step: Step
    state: str
    parameters: int
    macs_per_pixel: float
    bytes: int
    training_macs: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """All steps, and how fast they are expected to be.

    Attributes:
        steps: in order.
        macs_per_second: of training; ``measured`` says whether it is that of finished steps of
            this work folder, otherwise it is that of a few steps without data, timed now.
    """

    steps: tuple[Planned, ...]
    macs_per_second: float
    measured: bool

    @property
    def seconds(self) -> float:
        """Of training that is left to do."""
        return sum(planned.seconds for planned in self.steps if planned.state != "finished")


def make_plan(pipeline: Pipeline) -> Plan:
    """Say what :meth:`compress.recipe.pipeline.Pipeline.run` will do and cost; writes nothing.

    Args:
        pipeline: the recipe in its work folder.

    Raises:
        CheckpointError: a checkpoint or teacher that is unknown, missing or torn.
        ConfigError: a target of pruning out of reach; says the smallest within it. A device to
            train on that is not there.
    """
    states = _states(pipeline)
    network = start_of(pipeline.recipe)
    drafts: list[Planned] = []
    for step, (state, _) in zip(pipeline.recipe.steps, states, strict=True):
        before = network
        network = _after(step, network)
        net, multiple = network.build(), network.config.size_multiple
        precision: Precision = "fp32"
        floats: tuple[str, ...] = ()
        if isinstance(step.options, QuantizeConfig):
            precision, floats = step.options.scheme, step.options.keep_float
        drafts.append(
            Planned(
                step=step,
                state=state,
                parameters=sum(parameter.numel() for parameter in net.parameters()),
                macs_per_pixel=macs_per_pixel(net, multiple),
                bytes=artifact_bytes(net, precision, floats),
                training_macs=_training_macs(step, before, network),
                seconds=0,
            )
        )
    records = [record for _, record in states]
    speed = _measured_speed(drafts, records)
    rate = speed or _timed_speed(pipeline.recipe)
    planned = tuple(
        replace(draft, seconds=record.seconds if record else draft.training_macs / rate)
        for draft, record in zip(drafts, records, strict=True)
    )
    return Plan(planned, rate, speed is not None)


def _states(pipeline: Pipeline) -> list[tuple[str, Record | None]]:
    """Say of each step how it stands, with its record where it is finished."""
    states: list[tuple[str, Record | None]] = []
    current: Path | None = None
    for step in pipeline.recipe.steps:
        files = StepFiles(pipeline.work, step)
        if states and states[-1][1] is None:
            states.append(("to do" if files.read() is None else "again: its input changes", None))
            continue
        reason = files.stale(pipeline.wanted(step, current))
        done = None if reason else files.finished()
        begun = files.folder.exists() and not done
        state = f"again: {reason}" if reason else "goes on" if begun else "to do"
        states.append(("finished" if done else state, done))
        current = files.checkpoint
    return states


def start_of(recipe: Recipe) -> Checkpoint:
    """Return what the first step starts from: a checkpoint, or random weights.

    Raises:
        CheckpointError: a checkpoint that cannot be read.
    """
    if recipe.checkpoint:
        return load_checkpoint(recipe.checkpoint)
    training = recipe.steps[0].training
    config = network_config(training.architecture, training.network)
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)  # the very weights that training will start from
        net = ARCHITECTURES[training.architecture].module(config)
    return Checkpoint(recipe.name, training.role, training.architecture, config, net.state_dict())


def _after(step: Step, network: Checkpoint) -> Checkpoint:
    return foresee(network, step.options) if isinstance(step.options, PruneConfig) else network


def _training_macs(step: Step, before: Checkpoint, after: Checkpoint) -> float:
    costs = [_macs(before), _macs(after)]
    rounds = step.options.rounds if isinstance(step.options, PruneConfig) else 1
    factor = (costs[1] / costs[0]) ** (1 / rounds)
    student = sum(costs[0] * factor**number for number in range(1, rounds + 1)) / rounds
    unpruned = costs[0] if step.kind == "prune" else 0.0
    return step.steps * macs_of_a_step(step.training, student, unpruned)


def macs_of_a_step(training: DistillConfig, student: float, unpruned: float = 0.0) -> float:
    """Return about the multiply-accumulates of one optimizer step.

    Args:
        training: batch, crop and teacher.
        student: MACs per pixel of the network in training.
        unpruned: those of the network that teaches where ``training`` names no teacher.

    Raises:
        CheckpointError: a teacher that cannot be read.
    """
    teacher = unpruned
    if training.teacher:
        teacher = sum(_macs(load_checkpoint(path)) for path in find_teachers(training.teacher))
    views = 0 if training.distill.keep else training.distill.views
    pixels = training.mixture.crop**2 * training.batch_size
    return pixels * (PASSES * student + views * teacher)


def _macs(checkpoint: Checkpoint) -> float:
    return macs_per_pixel(checkpoint.unquantized().build(), checkpoint.config.size_multiple)


def _timed_speed(recipe: Recipe) -> float:
    trains = [step.training for step in recipe.steps if step.trains]
    return training_speed(start_of(recipe), trains[0]) if trains else math.inf


def _measured_speed(drafts: Sequence[Planned], records: Sequence[Record | None]) -> float | None:
    timed = [
        (draft.training_macs, record.seconds)
        for draft, record in zip(drafts, records, strict=True)
        if record and record.seconds and draft.training_macs
    ]
    return sum(macs for macs, _ in timed) / sum(s for _, s in timed) if timed else None
