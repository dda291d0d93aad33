"""The pipeline of a recipe: step by step in a work folder, from wherever the last run came to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from compress.cost import checkpoint_bytes
from compress.distillation import KEPT, distill
from compress.pruning.prune import PruneConfig, prune
from compress.quantization.quantize import QuantizeConfig, Quantized, to_fp16, to_int8
from compress.recipe.recipe import Recipe, Step, network_values
from compress.recipe.records import Record, StepFiles, digest
from compress.recipe.scores import Scorer
from compress.teacher import find_teachers
from core.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.errors import CheckpointError
from core.evaluation.evaluate import TestSetConfig
from core.evaluation.score import row_means, validation_score
from core.training.train import TrainResult
from edge_runtime.errors import EdgeDerainError
from edge_runtime.models.card import ModelCard, read_card
from edge_runtime.models.records import to_plain

Say = Callable[[str], None]
Row = tuple[str, ...]
UNKNOWN = "-"
"""Stands in tables for what is not known."""


@dataclass(frozen=True)
class Finished:
    """A step that is done.

    Attributes:
        step: what it was.
        checkpoint: path of what it made; its card lies beside it.
        card: that card.
        steps: optimizer steps that it took; ``seconds`` that it took in all.
    """

    step: Step
    checkpoint: Path
    card: ModelCard
    steps: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How a recipe ended.

    Attributes:
        finished: its finished steps, in order.
        stopped: how the training of the next one ended, where a signal stopped it.
        teacher: card of the teacher, scored like the steps; None without one.
    """

    finished: tuple[Finished, ...]
    stopped: TrainResult | None = None
    teacher: ModelCard | None = None


class Pipeline:
    """A recipe and its work folder.

    A finished step has a checkpoint ``1_distill.safetensors``, its card beside it, and a record of
    its config and of the hash of what it started from. :meth:`run` goes on after the last step
    that is still what its record says; the files of one that is not go into a folder ``before``.

    Args:
        recipe: what to do.
        work: folder for all that comes of it; made if it is missing.
        scores: folder for the scores of the teacher; None is ``work``.
        progress: show bars on standard error.
    """

    def __init__(
        self, recipe: Recipe, work: Path, scores: Path | None = None, progress: bool = True
    ) -> None:
        self.recipe, self.work = recipe, work
        self._scorer = Scorer(recipe, scores or work, progress)
        self._progress = progress

    def run(self, say: Say = lambda line: None) -> Outcome:
        """Do what is left to do.

        A signal during training is answered after the step of the optimizer, anywhere else at
        once; a second call goes on from there either way.

        Args:
            say: is told what begins, in one line, and why it is done again.

        Raises:
            EdgeDerainError: as the command of the step that fails. What was finished before it
                stays, and nothing is left of a step that had not begun to train.
        """
        finished: list[Finished] = []
        place = self.recipe.checkpoint
        made = find_checkpoint(place) if place else None
        for step in self.recipe.steps:
            files = StepFiles(self.work, step)
            wanted = self.wanted(step, made)
            reason = files.stale(wanted)
            if reason:
                say(f"{step.name}: again, because {reason}")
                files.set_aside()
            if not files.finished():
                say(f"{step.name}: {_said(step)}")
                stopped = self._run(step, files, wanted, made, say)
                if stopped:
                    return Outcome(tuple(finished), stopped)
            finished.append(_finished(step, files))
            made = files.checkpoint
        return Outcome(tuple(finished), teacher=self._scorer.teacher())

    def wanted(self, step: Step, before: Path | None) -> Record:
        """Return the record that a run of ``step`` would begin with now.

        Args:
            step: of the recipe.
            before: checkpoint that the step before it made; None for the first.

        Raises:
            CheckpointError: a checkpoint or teacher that is unknown or missing.
        """
        start = before or self._start(step)
        teacher = step.training.teacher
        return Record(
            plain=step.plain(),
            input=_required_digest(start) if start else "",
            teacher=" ".join(map(_required_digest, find_teachers(teacher))) if teacher else "",
        )

    def _start(self, step: Step) -> Path | None:
        place = self.recipe.checkpoint or step.training.init
        return find_checkpoint(place) if place else None

    def _run(
        self, step: Step, files: StepFiles, wanted: Record, before: Path | None, say: Say
    ) -> TrainResult | None:
        started = monotonic()
        missing = [folder for folder in (self.work, *self.work.parents) if not folder.exists()]
        try:
            files.write(wanted)
            made, notes = self._made(step, files, before)
        except EdgeDerainError:
            files.forget()
            for folder in missing:
                with contextlib.suppress(OSError):  # there is something in it
                    folder.rmdir()
            raise
        if isinstance(made, TrainResult):
            return made
        for note in notes:
            say(f"{step.name}: {note}")
        save_checkpoint(files.checkpoint, made)
        self._scorer.card(files.checkpoint, made)
        start = before or self._start(step)
        seconds = max(_trained_seconds(made, start), monotonic() - started)
        files.write(
            replace(
                wanted,
                sha256=digest(files.checkpoint),
                steps=step.steps,
                seconds=seconds,
                notes=notes,
            )
        )
        return None

    def _made(
        self, step: Step, files: StepFiles, before: Path | None
    ) -> tuple[Checkpoint | TrainResult, tuple[str, ...]]:
        # Paths are part of a run that is resumed: they must not depend on where it is started.
        start = before.resolve() if before else None
        training = replace(step.training, out=str(files.folder.resolve()))
        if isinstance(step.options, PruneConfig) and start:
            resume = (files.folder / training.name).exists()
            pruned = prune(start, step.options, training, resume, self._progress)
            if pruned.trained and pruned.trained.stopped_by is not None:
                return pruned.trained, ()
            return pruned.checkpoint, ()
        if isinstance(step.options, QuantizeConfig) and start:
            return self._quantized(step.options, replace(step, training=training), start)
        if start:
            network = network_values(load_checkpoint(start))
            training = replace(training, init=str(start), **network)
        resume = (files.folder / training.name / "state.safetensors").exists()
        # All steps share what a teacher says of the same pictures.
        result = distill(training, resume, self._progress, self.work / KEPT)
        if result.stopped_by is not None:
            return result, ()
        return load_checkpoint(result.folder / "best.safetensors"), ()

    def _quantized(
        self, options: QuantizeConfig, step: Step, start: Path
    ) -> tuple[Checkpoint | TrainResult, tuple[str, ...]]:
        checkpoint = load_checkpoint(start)
        if options.scheme == "fp16":
            return to_fp16(checkpoint), ()
        training = replace(
            step.training,
            name=f"{checkpoint.name}_int8",
            architecture=checkpoint.architecture,
            network=to_plain(checkpoint.config),
            init="",
        )
        resume = (Path(training.out) / training.name / "state.safetensors").exists()
        found = to_int8(checkpoint, options, training, resume, self._progress)
        if not isinstance(found, Quantized):
            return found, ()
        return found.checkpoint, found.warnings


def _finished(step: Step, files: StepFiles) -> Finished:
    record = files.finished()
    if record is None:
        raise CheckpointError(f"{files.checkpoint}: was removed while the recipe ran; run it again")
    card = read_card(files.checkpoint)
    return Finished(step, files.checkpoint, card, record.steps, record.seconds)


def _required_digest(path: Path) -> str:
    found = digest(path)
    if not found:
        load_checkpoint(path)  # says what is wrong with it
    return found


def _trained_seconds(made: Checkpoint, start: Path | None) -> float:
    """Return the seconds of training between a checkpoint and what was made of it; 0 if unknown."""
    before = load_checkpoint(start).cost if start else None
    return 3600 * ((made.cost.hours if made.cost else 0) - (before.hours if before else 0))


def _said(step: Step) -> str:
    options = {key: value for key, value in (to_plain(step.options) or {}).items() if value}
    if step.trains:
        options["steps"] = step.steps
    if step.kind == "distill":
        options["teacher"] = step.training.teacher
    return ", ".join(f"{name} {value}" for name, value in options.items())


def outcome_rows(outcome: Outcome) -> list[Row]:
    """Lay out what each step reached, rgb PSNR in dB, and what it cost; the teacher first."""
    sets = outcome.finished[0].step.training.validation
    rows: list[Row] = [
        (
            *("", *sets, "score", "to teacher", "parameters"),
            *("kMAC/pixel", "ONNX kB", "optimizer steps", "time"),
        )
    ]
    if outcome.teacher:
        rows.append(_reached("teacher", outcome.teacher, sets, None, None))
    for done in outcome.finished:
        size = checkpoint_bytes(load_checkpoint(done.checkpoint)) / 1000
        taken = (f"{size:.1f}", f"{done.steps:,}", duration(done.seconds))
        rows.append(_reached(done.step.name, done.card, sets, outcome.teacher, taken))
    return rows


def duration(seconds: float) -> str:
    """Say a time in the largest unit that it has one of: ``5 s``, ``12 min``, ``1.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _reached(
    name: str,
    card: ModelCard,
    sets: Mapping[str, TestSetConfig],
    teacher: ModelCard | None,
    taken: tuple[str, str, str] | None,
) -> Row:
    means = row_means(card.quality)
    score = validation_score(means, sets)
    loss = UNKNOWN
    if teacher:
        loss = f"{score - validation_score(row_means(teacher.quality), sets):+.2f}"
    return (
        name,
        *(f"{means[each].after:.2f}" for each in sets),
        f"{score:+.2f}",
        loss,
        f"{card.parameters:,}",
        f"{card.macs_per_pixel / 1000:.3f}",
        *(taken or (UNKNOWN, UNKNOWN, UNKNOWN)),
    )
