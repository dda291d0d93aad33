"""Train a student that learns from a teacher as well as from clean pictures."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from compress.objective import Distillation, DistillationConfig
from compress.teacher import Teacher, load_teacher
from core.checkpoint import load_checkpoint
from core.config import network_config, read_config, to_plain
from core.errors import ConfigError
from core.training.config import TrainConfig
from core.training.train import TrainResult, train

KEPT = "teacher_outputs"
"""Folder of the outputs of teachers that are kept."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistillConfig(TrainConfig):
    """A training run under a teacher; the fields of :class:`core.training.config.TrainConfig`, and

    Attributes:
        teacher: checkpoint to learn from, shipped name or path, of any architecture; several,
            separated by commas, teach by their mean; empty trains the student alone, the control
            of every claim.
        distill: what the teacher says.
    """

    teacher: str = ""
    distill: DistillationConfig = field(default_factory=DistillationConfig)


def distill(
    config: DistillConfig, resume: bool = False, progress: bool = True, kept: Path | None = None
) -> TrainResult:
    """Train as ``config`` says; see :meth:`core.training.train.Trainer.run`.

    Without a teacher the unlabelled parts of the mixture have nothing to say and are left out,
    with a warning: otherwise the same config makes the control.

    Args:
        config: the run.
        resume: go on with an interrupted one.
        progress: show bars on standard error.
        kept: folder for the outputs of the teacher that are kept; None is one in ``config.out``.

    Raises:
        CheckpointError: a teacher that cannot be read, with the name of what is wrong with it.
        ConfigError: a crop that the teacher cannot take, and whatever training refuses.
        DataError, TrainingError: as training.
    """
    if not config.teacher:
        return train(_alone(config), resume, progress)
    teacher = load_teacher(config.teacher, config.distill.views)
    _check_crop(config, teacher)
    if config.compile:
        teacher.compile_networks()
    folder = kept or Path(config.out) / KEPT
    objective = Distillation(config.loss, config.distill, teacher, folder)
    return train(config, resume, progress, objective)


def student_options(place: str) -> list[str]:
    """Turn the student of a command line into options that say its architecture and network.

    Args:
        place: checkpoint, by shipped name or path; or a YAML config with ``architecture`` and
            ``network``, such as one of a training run. Weights are not taken: that is ``init``.

    Raises:
        CheckpointError: a checkpoint that is unknown or cannot be read.
        ConfigError: a config that cannot be read, or names no architecture.
    """
    if Path(place).suffix in (".yaml", ".yml"):
        values = read_config(place)
        if "architecture" not in values:
            raise ConfigError(f"student {place}: names no architecture; add it, such as 'student'")
        architecture = values["architecture"]
        network = network_config(architecture, values.get("network", {}))
    else:
        checkpoint = load_checkpoint(place)
        architecture, network = checkpoint.architecture, checkpoint.config
    return [f"--architecture={architecture}", f"--network={json.dumps(to_plain(network))}"]


def _alone(config: DistillConfig) -> DistillConfig:
    named = config.mixture.parts.items()
    parts = {name: part for name, part in named if part.rain != "unlabelled"}
    if len(parts) == len(config.mixture.parts):
        return config
    if not parts:
        raise ConfigError("mixture.parts: all are unlabelled; they need a --teacher to speak")
    _log.warning("mixture.parts: the unlabelled ones are left out, because there is no teacher")
    return replace(config, mixture=replace(config.mixture, parts=parts))


def _check_crop(config: DistillConfig, teacher: Teacher) -> None:
    crop, multiple = config.mixture.crop, teacher.size_multiple
    if crop % multiple:
        raise ConfigError(
            f"mixture.crop {crop} is not a multiple of {multiple}, as the teacher "
            f"{config.teacher} needs; take {crop + -crop % multiple}"
        )
