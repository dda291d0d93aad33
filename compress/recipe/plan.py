"""Plans of recipes: how each step stands and what it makes, worked out without data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compress.cost import Precision, artifact_bytes, macs_per_pixel
from compress.pruning.prune import PruneConfig, foresee
from compress.quantization.quantize import QuantizeConfig
from compress.recipe.pipeline import UNKNOWN, Pipeline, Row, duration
from compress.recipe.recipe import Recipe, Step
from compress.recipe.records import Record, StepFiles
from compress.teacher import find_teachers
from core.checkpoint import Checkpoint, load_checkpoint
from core.config import network_config
from core.networks import ARCHITECTURES
from core.pairs import SourceConfig, find_pairs


@dataclass(frozen=True)
class Planned:
    """One step of a plan.

    Attributes:
        step: what it is.
        state: ``finished``, ``goes on``, ``to do``, or ``again: `` with the reason.
        parameters: of its result where it is finished, and else of what is foreseen, about after
            pruning, as ``macs_per_pixel`` and ``bytes``.
        macs_per_pixel: multiply-accumulates per input pixel.
        bytes: of the ONNX file that its result becomes, about.
        seconds: that it took, where it is finished.
    """

    step: Step
    state: str
    parameters: int
    macs_per_pixel: float
    bytes: int
    seconds: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.seconds is not None


def make_plan(pipeline: Pipeline) -> tuple[Planned, ...]:
    """Say what :meth:`compress.recipe.pipeline.Pipeline.run` will do and cost; writes nothing.

    Args:
        pipeline: the recipe in its work folder.

    Raises:
        CheckpointError: a checkpoint or teacher that is unknown, missing or torn.
        ConfigError: a target of pruning out of reach; says the smallest within it.
    """
    network = start_of(pipeline.recipe)
    plan: list[Planned] = []
    for step, (state, record) in zip(pipeline.recipe.steps, _states(pipeline), strict=True):
        precision: Precision = "fp32"
        floats: tuple[str, ...] = ()
        if isinstance(step.options, QuantizeConfig):
            precision, floats = step.options.scheme, step.options.keep_float
        if record:
            made = load_checkpoint(StepFiles(pipeline.work, step).checkpoint)
            floats = made.quantization.float_layers if made.quantization else ()
            network = made.unquantized()
        elif isinstance(step.options, PruneConfig):
            network = foresee(network, step.options)
        net, multiple = network.build(), network.config.size_multiple
        plan.append(
            Planned(
                step=step,
                state=state,
                parameters=sum(parameter.numel() for parameter in net.parameters()),
                macs_per_pixel=macs_per_pixel(net, multiple),
                bytes=artifact_bytes(net, precision, floats),
                seconds=record.seconds if record else None,
            )
        )
    return tuple(plan)


def check_data(step: Step) -> None:
    """List the files that a step reads, and find its teacher; reads no picture.

    Raises:
        DataError: a folder or a twin that is missing.
        CheckpointError: an unknown or missing teacher.
    """
    training, sources = step.training, list[SourceConfig]()
    if not (isinstance(step.options, QuantizeConfig) and step.options.scheme == "fp16"):
        mixture, rain = training.mixture, training.mixture.generated
        for part in mixture.parts.values():
            if part.rain != "unlabelled" or step.kind != "train":  # who has none to speak for it
                sources += [each for each in (part.source, part.lender) if each]
            if part.rain == "generated" and rain.streaks:
                sources.append(SourceConfig(layout="clean", root=rain.streaks))
    sources += [each.source for each in training.validation.values()]
    for source in dict.fromkeys(sources):
        find_pairs(source, training.data_root)
    if training.teacher:
        for path in find_teachers(training.teacher):
            load_checkpoint(path)


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


def plan_rows(plan: Sequence[Planned]) -> list[Row]:
    """Lay out a plan: what each step is, how it stands, and what its result costs."""
    rows: list[Row] = [
        ("step", "state", "optimizer steps", "took", "parameters", "kMAC/pixel", "ONNX kB")
    ]
    for planned in plan:
        rows.append(
            (
                planned.step.name,
                planned.state,
                f"{planned.step.steps:,}",
                UNKNOWN if planned.seconds is None else duration(planned.seconds),
                f"{planned.parameters:,}",
                f"{planned.macs_per_pixel / 1000:.3f}",
                f"{planned.bytes / 1000:.1f}",
            )
        )
    return rows
