"""Distillation: training of a student by its teacher's results as well as by clean pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from compress.teacher import TaughtPictures, Teacher, load_teacher
from core.checkpoint import load_checkpoint
from core.config import network_config, read_config
from core.errors import ConfigError
from core.inference import Views
from core.mixture.dataset import Kind, Sample, to_float
from core.training.config import TrainConfig
from core.training.learner import Objective
from core.training.losses import LossConfig, picture_errors, reconstruction_loss
from core.training.train import TrainResult, train
from edge_runtime.models.records import to_plain

KEPT = "teacher_outputs"
"""Folder of the outputs of teachers that are kept."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistillationConfig:
    """What the teacher says in training; without a teacher nothing of it counts.

    Attributes:
        clean: weight of the loss against the clean pictures.
        teacher: weight of the same loss against the teacher's results.
        views: passes of the teacher over a picture: 1; 2, also mirrored; 4, also upside down; 8,
            also turned.
        keep: compute the teacher's results once for whole pictures, where their rain is their
            own, and cut them like the pictures: less time a step, and not quite the same targets.

    Raises:
        ConfigError: a weight below 0, or none above 0.
    """

    RETIRED: ClassVar = {"features": 0.0, "student_layers": [], "teacher_layers": []}

    clean: float = 1.0
    teacher: float = 1.0
    views: Views = 1
    keep: bool = False
    pieces: int = 0
    bounded: bool = False
    even: bool = False

    def __post_init__(self) -> None:
        for name in ("clean", "teacher"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"distill.{name} {getattr(self, name)} must be 0 or more")
        if not self.clean + self.teacher > 0:
            raise ConfigError("distill.clean and distill.teacher are both 0; give one a weight")
        if self.pieces < 0 or (self.pieces and not self.keep):
            raise ConfigError(
                f"distill.pieces {self.pieces}: must be 0 or more, and 0 unless distill.keep is "
                "true; set that too"
            )


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


class Distillation(Objective):
    """Learn from clean pictures and from a teacher.

    The loss is ``clean * L(derained, clean) + teacher * L(derained, taught)``, with ``L`` of
    :func:`core.training.losses.reconstruction_loss`. Both ``derained`` and ``taught`` are the rainy
    picture plus a rain residual, so that the absolute and squared differences of ``L`` are those
    of the residuals, which is where the teacher knows something.

    Who speaks depends on the sample. Of a dry picture nothing may change: the picture itself takes
    the place of the teacher's result, and the teacher is not asked. Of an unlabelled one there is
    no clean version: only the teacher speaks. Wherever else the teacher is not asked, or is silent
    because it is ``bounded``, the clean picture takes its place.

    Args:
        loss: terms of ``L``.
        config: weights, and how the teacher is asked.
        teacher: the network to learn from.
        folder: where kept results are written.
    """

    def __init__(
        self,
        loss: LossConfig,
        config: DistillationConfig,
        teacher: Teacher,
        folder: Path,
    ) -> None:
        super().__init__(loss)
        self.config = config
        self.teacher = teacher
        self.verb = "distill"
        self.note = (
            f"teacher {teacher.description}, views {config.views}, "
            f"weights {config.clean:g} clean, {config.teacher:g} teacher"
        )
        if config.pieces:
            self.note += f", {config.pieces} pieces"
        for name in ("bounded", "even"):
            if getattr(config, name):
                self.note += f", {name}"
        self.data = teacher.data
        self.clean_weight = config.clean
        self.takes_unlabelled = config.teacher > 0
        self.teach = TaughtPictures(teacher, folder) if config.keep else None
        self.pieces = config.pieces

    def observe(self, batch: Sample) -> dict[str, Tensor]:
        """Ask the teacher.

        Returns:
            ``taught``: float32 (N, 3, H, W) in [0, 1].
        """
        rainy = to_float(batch.rainy)
        taught = rainy.clone()
        asked = batch.kind != Kind.DRY
        if batch.taught.numel():
            kept = asked & (batch.kind != Kind.MADE)
            taught[kept] = to_float(batch.taught)[kept]
            asked = asked & ~kept
        if self.pieces:
            made = batch.kind == Kind.MADE
            taught[made] = to_float(batch.clean)[made]
            asked = asked & ~made
        rows = asked.nonzero()[:, 0]
        if len(rows):
            taught[rows] = self.teacher(rainy[rows])
        return {"taught": taught}

    def forward(
        self, derained: Tensor, batch: Sample, observed: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the losses ``clean``, ``teacher`` and their weighted sum."""
        config, clean = self.config, to_float(batch.clean)
        labelled = (batch.kind != Kind.UNLABELLED)[:, None, None, None]
        taught = observed["taught"]
        if config.bounded:
            worse = picture_errors(taught, clean) >= picture_errors(derained.detach(), clean)
            taught = torch.where(worse[:, None, None, None] & labelled, clean, taught)
        # Where there is no clean picture both sides are the same, and no gradient flows.
        losses = {
            "clean": reconstruction_loss(torch.where(labelled, derained, clean), clean, self.loss),
            "teacher": reconstruction_loss(
                derained,
                taught,
                self.loss,
                weighed_by=torch.where(labelled, clean, taught) if config.even else None,
            ),
        }
        total = config.clean * losses["clean"] + config.teacher * losses["teacher"]
        return {"loss": total, **losses}
