"""A recipe: the ordered steps that make a student, each with the options of its own command."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from compress.distillation import DistillConfig
from compress.pruning.prune import PruneConfig
from compress.quantization.calibrate import check_crops
from compress.quantization.quantize import QuantizeConfig
from core.checkpoint import Checkpoint, load_checkpoint
from core.config import PARENT, build_config, check_keys, merge, nearest, read_config
from core.errors import ConfigError
from core.evaluation.evaluate import EvaluationConfig
from edge_runtime.models.records import to_plain

Kind = Literal["distill", "train", "prune", "quantize"]
_PLACED = ("name", "role", "out", "data_root", "validation")
"""Options that are those of the whole recipe."""


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes:
        number: counted from 1.
        kind: what it does: ``distill`` under the teacher, ``train`` alone, ``prune`` or
            ``quantize``.
        training: data and training options; its network is that of the step's input where it has
            one.
        options: what to prune or quantize to; None in the kinds that only train.
    """

    number: int
    kind: Kind
    training: DistillConfig
    options: PruneConfig | QuantizeConfig | None = None

    @property
    def name(self) -> str:
        """Stem of its files, such as ``2_prune``."""
        return f"{self.number}_{self.kind}"

    @property
    def trains(self) -> bool:
        """Whether it takes optimizer steps."""
        return not isinstance(self.options, QuantizeConfig) or self.options.qat

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        if not self.trains:
            return 0
        rounds = self.options.rounds if isinstance(self.options, PruneConfig) else 1
        return rounds * self.training.steps

    def plain(self) -> dict[str, Any]:
        """Return all that makes it this step, as values that JSON can hold."""
        training = to_plain(self.training)
        if not self.trains:  # it says nothing but what to calibrate on and to judge by
            training = {key: training[key] for key in ("mixture", "validation", "seed")}
        return {"kind": self.kind, **training, "options": to_plain(self.options)}


@dataclass(frozen=True)
class Recipe:
    """How a student is made.

    Attributes:
        name: of the student.
        steps: in order, at least one; each starts from what the one before it made.
        checkpoint: what the first step starts from, shipped name or path; empty where it trains a
            new network.
        judge: data sets that the result of every step is scored on.
        out: folder of all runs.
    """

    name: str
    steps: tuple[Step, ...]
    checkpoint: str
    judge: EvaluationConfig
    out: str

    @property
    def teacher(self) -> str:
        """Checkpoint that the first step with one learns from; empty where none does.

        Of several that teach together it is the first.
        """
        named = (step.training.teacher for step in self.steps if step.training.teacher)
        return next(named, "").split(",")[0].strip()


@dataclass(frozen=True)
class _File(DistillConfig):
    """Keys of a recipe file: options of all steps, and

    Attributes:
        recipe: a list of steps, each one key, its kind, with the options of this step alone.
        checkpoint: see :class:`Recipe`.
    """

    recipe: list[Any] = field(default_factory=list)
    checkpoint: str = ""


def read_recipe(path: str | Path, **given: str | None) -> Recipe:
    """Read a YAML file of training options with a list ``recipe`` of steps.

    A step may extend a file, relative to this one, as well: its options lie over those of all
    steps and below its own; what is of the whole recipe is left out of it.

    Args:
        path: of the file; it may extend others, as every config.
        given: options such as ``teacher`` and ``data_root`` that override the file; None does not.

    Raises:
        ConfigError: what is wrong with the file, in one line.
        CheckpointError: a ``checkpoint`` that cannot be read.
    """
    values = {**read_config(path), **{k: v for k, v in given.items() if v is not None}}
    try:
        if isinstance(values.get("recipe"), list):
            values["recipe"] = [_extended(item, Path(path).parent) for item in values["recipe"]]
        return build_recipe(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def build_recipe(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain values; errors as :func:`read_recipe`."""
    check_keys(_File, values)
    shared = dict(values)
    listed, start = shared.pop("recipe", None), shared.pop("checkpoint", "") or ""
    if not isinstance(listed, list) or not listed:
        raise ConfigError(
            "recipe: lists no steps; write them as '- distill: {steps: 1000}', of the kinds "
            f"{', '.join(get_args(Kind))}"
        )
    if start:
        if shared.get("init"):
            raise ConfigError(f"init {shared['init']} and checkpoint {start}: give one of them")
        shared.update(network_values(load_checkpoint(start)))
    steps = tuple(_step(number, item, shared) for number, item in enumerate(listed, 1))
    _check_order(steps, start)
    first = steps[0].training
    judge = EvaluationConfig(first.validation, first.data_root)
    return Recipe(first.name, steps, start, judge, first.out)


def network_values(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the training options that say which network a checkpoint holds."""
    return {"architecture": checkpoint.architecture, "network": to_plain(checkpoint.config)}


STEP_OPTIONS: dict[str, type[Any]] = {
    "prune": PruneConfig,
    "quantize": QuantizeConfig,
}
"""What the kinds of step that take options of their own take."""


def _extended(item: Any, folder: Path) -> Any:
    """Lay the options of a step over those of the file that it extends."""
    if not isinstance(item, Mapping):
        return item
    return {kind: _over_parent(options, folder) for kind, options in item.items()}


def _over_parent(options: Any, folder: Path) -> Any:
    if not isinstance(options, Mapping) or PARENT not in options:
        return options
    own = dict(options)
    parent = own.pop(PARENT)
    if not isinstance(parent, str):
        raise ConfigError(f"{PARENT} {parent!r} is not the name of a file")
    below = {
        key: value for key, value in read_config(folder / parent).items() if key not in _PLACED
    }
    return merge(below, own)


def _step(number: int, item: Any, shared: Mapping[str, Any]) -> Step:
    kind, given = _kind_and_options(number, item)
    where = f"recipe[{number}] {kind}"
    own = (
        {f.name for f in dataclasses.fields(STEP_OPTIONS[kind])} if kind in STEP_OPTIONS else set()
    )
    known = {f.name for f in dataclasses.fields(DistillConfig)} | own
    for key in given:
        if key not in known:
            raise ConfigError(f"{where}: {key}: unknown key; {nearest(str(key), known)}")
        if key in _PLACED:
            raise ConfigError(f"{where}: {key}: is that of all steps; write it above the recipe")
        if key == "init" and number > 1:
            raise ConfigError(f"{where}: init: is of the first step alone; leave it out")
    options = {key: value for key, value in given.items() if key in own}
    changed = {key: value for key, value in given.items() if key not in own}
    below = {key: value for key, value in shared.items() if kind == "distill" or key != "teacher"}
    try:
        training = build_config(DistillConfig, merge(below, changed), "")
        chosen = build_config(STEP_OPTIONS[kind], options, "") if kind in STEP_OPTIONS else None
        if isinstance(chosen, QuantizeConfig) and chosen.scheme == "int8":
            check_crops(training, chosen.crops)
    except ConfigError as error:
        raise ConfigError(f"{where}: {str(error).removeprefix(': ')}") from error
    step = Step(number, kind, training, chosen)
    _check_training(step, where)
    return step


def _kind_and_options(number: int, item: Any) -> tuple[Kind, Mapping[str, Any]]:
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, Mapping) or len(item) != 1:
        raise ConfigError(
            f"recipe[{number}]: must be one kind of step with its options, such as "
            f"'- prune: {{target_macs: 0.5}}', got {item!r}"
        )
    [(kind, options)] = item.items()
    if kind not in get_args(Kind):
        raise ConfigError(f"recipe[{number}]: {kind}: unknown kind of step; {_nearest(kind)}")
    if not isinstance(options or {}, Mapping):
        raise ConfigError(f"recipe[{number}] {kind}: must be a mapping, got {options!r}")
    return kind, options or {}


def _nearest(kind: Any) -> str:
    return nearest(str(kind), get_args(Kind))


def _check_training(step: Step, where: str) -> None:
    training = step.training
    if training.processes > 1:
        raise ConfigError(
            f"{where}: devices {training.processes}: a recipe runs in one process; train with "
            "compress distill on several devices, and name the result as checkpoint"
        )
    if step.kind == "distill" and not training.teacher:
        raise ConfigError(f"{where}: needs a teacher; give --teacher CKPT, or make the step train")
    if step.kind in ("train", "quantize") and training.teacher:
        raise ConfigError(f"{where}: takes no teacher, got {training.teacher!r}; leave it out")


def _check_order(steps: tuple[Step, ...], start: str) -> None:
    if steps[0].kind in STEP_OPTIONS and not start:
        raise ConfigError(
            f"recipe[1] {steps[0].kind}: has nothing to start from; begin with distill or train, "
            "or name a checkpoint above the recipe"
        )
    for step in steps[:-1]:
        if step.kind == "quantize":
            raise ConfigError(
                f"recipe[{step.number}] quantize: must be the last step; move it behind the others"
            )
