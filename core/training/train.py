"""The training loop on Lightning Fabric, one for every architecture: its result and interrupts."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader

from core.checkpoint import save_checkpoint
from core.config import build_config
from core.errors import CheckpointError, ConfigError, disk_errors
from core.evaluation.evaluate import EvaluationConfig, PictureScore, mean_rows, score_pairs
from core.evaluation.score import row_means, validation_score
from core.inference import derain
from core.mixture.dataset import MixtureDataset, Sample, step_indices
from core.pairs import find_pairs
from core.progress import above_bars, step_bar
from core.training.config import TrainConfig, differences, parse_training, training_parser
from core.training.learner import Learner, Objective
from core.training.log import RunLog
from core.training.state import (
    Stopwatch,
    load_state,
    previous,
    read_progress,
    resumable,
    save_state,
    sole_run,
)
from edge_runtime.files import write_atomically
from edge_runtime.models.records import to_plain


class StopRequest:
    """Context in which the first SIGINT or SIGTERM does nothing but set ``requested``.

    Attributes:
        requested: number of the first signal, or None while there was none.

    The second one raises KeyboardInterrupt at once, wherever the program is. Outside the main
    thread signals are left alone.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested = number


@dataclass(frozen=True)
class TrainResult:
    """The end of a run.

    Attributes:
        folder: where ``best``, ``last`` and ``state`` (.safetensors), ``config.yaml`` and the
            folder ``logs`` are; after a GAN phase that followed a PSNR phase also ``before_gan``.
        step: finished steps.
        score: best validation score so far in dB, None before the first validation.
        stopped_by: number of the signal that ended it early, or None.
        first: whether this is the first of the run's processes, the one that writes and scores.
        summary: lines for whoever started the run; none in the processes that are not the first.
    """

    folder: Path
    step: int
    score: float | None
    stopped_by: int | None
    first: bool
    summary: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What a command that made the run returns: 0, or 128 and the number of the signal."""
        return 0 if self.stopped_by is None else 128 + self.stopped_by


JUDGED_BY = "gain"
"""Tells scores of today from those of earlier versions, with which they cannot be compared."""
_log = logging.getLogger(__name__)


class Trainer:
    """One training run.

    Args:
        config: what to train.
        progress: show bars on standard error.
        objective: what it is for; None takes the difference to the clean pictures.

    Raises:
        CheckpointError: ``config.init`` cannot be read.
        ConfigError: ``config.init`` holds another network, or the devices are not there.
    """

    def __init__(
        self, config: TrainConfig, progress: bool = True, objective: Objective | None = None
    ) -> None:
        self.config = config
        self.folder = Path(config.out) / config.name
        self.step = 0
        self.best: float | None = None
        self.last: float | None = None
        self.before_gan: float | None = None
        self.learner = Learner(config, objective)
        self.fabric = self.learner.fabric
        self.first = self.fabric.is_global_zero
        self.progress = progress and self.first
        self._watch = Stopwatch()

    def run(self, resume: bool = False) -> TrainResult:
        """Train to the end, or until the first SIGINT or SIGTERM; the state is saved either way.

        Args:
            resume: go on from the folder's ``state.safetensors``, or from the one before where
                that is torn. A finished run goes on to more ``steps``, at the learning rate that
                they have there.

        Raises:
            ConfigError: the folder holds a run already and ``resume`` is not set; or it is set
                and the folder holds none, or one with another config.
            CheckpointError: the states are torn.
            DataError: data that is missing or wrong.
            TrainingError: the gradient is not finite, or the disk is full. What was saved before
                stays as it was.
        """
        state = self.folder / "state.safetensors"
        seconds = 0.0
        if resume:
            seconds = self._restore(state)
        elif state.exists() or previous(state).exists():
            raise ConfigError(
                f"{self.folder} holds a run already; "
                "add --resume to go on with it or choose another --name"
            )
        config = self.config
        objective = self.learner.objective
        # What the first process writes down of the teacher, the others read.
        with self.fabric.rank_zero_first() if objective.teach else nullcontext():
            data = MixtureDataset(
                config.mixture,
                config.data_root,
                config.seed,
                self.progress,
                objective.teach,
                objective.pieces,
            )
        if self.first:
            for test_set in config.validation.values():
                find_pairs(test_set.source, config.data_root)  # what is missing is said at once
            text = yaml.safe_dump(to_plain(config), sort_keys=False)
            with disk_errors(f"out {self.folder}", ConfigError):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self.folder / "config.yaml", text.encode())
        self._watch = Stopwatch(seconds)
        with (
            sole_run(self.folder) if self.first else nullcontext(),
            RunLog(self.folder / "logs", self.step, write=self.first) as log,
            StopRequest() as stop,
        ):
            stopped_by = self._loop(data, log, stop)
        ended_by = stopped_by if self.step < config.steps else None
        lines = self._summary(ended_by) if self.first else ()
        return TrainResult(self.folder, self.step, self.best, ended_by, self.first, lines)

    def _summary(self, stopped_by: int | None) -> tuple[str, ...]:
        if stopped_by is not None:
            return (
                f"stopped after step {self.step} of {self.config.steps}, saved in {self.folder}; "
                "the same command with --resume goes on",
            )
        ended = (
            f"{self.step} steps, best score {self.best:+.2f} dB: "
            f"{self.folder / 'best.safetensors'} ({self._watch.waiting:.0%} of the time spent "
            f"waiting for data); curves and pictures are in {self.folder / 'logs'}"
        )
        if self.before_gan is None:
            return (ended,)
        gan = (
            f"score before the GAN phase {self.before_gan:+.2f} dB (before_gan.safetensors), "
            f"after it {self.last:+.2f} dB (last.safetensors)"
        )
        return ended, gan

    def _loop(self, data: MixtureDataset, log: RunLog, stop: StopRequest) -> int | None:
        config = self.config
        with step_bar(config.name, self.step, config.steps, shown=self.progress) as bar:
            shown: dict[str, str] = {}
            for batch in self._watch.waits(self._batches(data)):
                if config.adversarial.weight and self.step == config.adversarial.start > 0:
                    self._tell(self._validate(log))
                    self.before_gan = self.last
                    self._keep("before_gan")
                losses = self.learner.update(batch, self.step)
                self.step += 1
                bar.update()
                last = self.step == config.steps
                if self.step % config.log_every == 0 or last:
                    shown["loss"] = f"{self._write_losses(losses, log)['loss']:.4f}"
                if self.step % config.validate_every == 0 or last:
                    self._tell(self._validate(log))
                if self.best is not None:
                    shown["best"] = f"{self.best:+.2f} dB"
                bar.set_postfix(shown, refresh=last)
                stopped_by = self._stopped_by(stop)
                if self.step % config.save_every == 0 or last or stopped_by:
                    self._save()
                if stopped_by:
                    return stopped_by
        return None

    def _tell(self, line: str) -> None:
        if self.progress:
            above_bars(line)

    def _batches(self, data: MixtureDataset) -> Any:
        config, fabric = self.config, self.fabric
        loader: DataLoader[Sample] = DataLoader(
            data,
            batch_size=config.batch_size // config.processes,
            sampler=step_indices(
                self.step, config.steps, config.batch_size, fabric.global_rank, config.processes
            ).tolist(),
            num_workers=config.workers,
            pin_memory=fabric.device.type == "cuda",
            # One of its own, so that resuming draws nothing from the random state that is saved.
            generator=torch.Generator(),
        )
        return fabric.setup_dataloaders(loader, use_distributed_sampler=False)

    def _stopped_by(self, stop: StopRequest) -> int | None:
        number = stop.requested or 0
        if self.config.processes > 1:  # all stop after the same step
            number = int(self._over_processes(torch.tensor(float(number)), "max"))
        return number or None

    def _over_processes(self, value: Tensor, operation: Literal["max", "mean"]) -> float:
        reduced: Any = self.fabric.all_reduce(value, reduce_op=operation)
        return float(reduced)

    def _write_losses(self, losses: Mapping[str, Tensor], log: RunLog) -> dict[str, float]:
        values = {name: self._over_processes(loss, "mean") for name, loss in losses.items()}
        rate, waiting = self.config.learning_rate_at(self.step - 1), self._watch.lap()
        log.write(self.step, {**values, "learning_rate": rate, "waiting": waiting})
        return values

    def _validate(self, log: RunLog) -> str:
        """Score the network; return the line that tells of it, empty but in the first process."""
        if not self.first:
            return ""
        network = self.learner.average.module.eval()
        multiple = self.learner.network_config.size_multiple
        judged = EvaluationConfig(self.config.validation, self.config.data_root)
        scores: dict[str, list[PictureScore]] = {}
        with self.fabric.autocast():
            for score, *pictures in score_pairs(
                lambda rainy: derain(network, rainy, multiple), judged, progress=False
            ):
                if score.dataset not in scores:
                    rainy, clean, derained = pictures
                    log.show(self.step, score.dataset, (rainy, derained, clean))
                scores.setdefault(score.dataset, []).append(score)
        rows = mean_rows(chain.from_iterable(scores.values()))
        for row in rows:
            place = f"{row.dataset}/{row.protocol}"
            log.write(self.step, {f"{place}_psnr": row.psnr, f"{place}_ssim": row.ssim})
        means = row_means(rows)
        self.last = validation_score(means, self.config.validation)
        log.write(self.step, {"score": self.last})
        log.draw()
        better = self.best is None or self.last > self.best
        if better:
            self.best = self.last
            self._keep("best")
        single = ", ".join(f"{name} {mean.after:.2f}" for name, mean in means.items())
        return f"step {self.step}: score {self.last:+.2f} dB{' (best)' * better}: {single}"

    def _keep(self, name: str) -> None:
        if self.first:
            checkpoint = self.learner.checkpoint(self.step, self._watch.seconds)
            save_checkpoint(self.folder / f"{name}.safetensors", checkpoint)

    def _save(self) -> None:
        self._keep("last")
        if self.first:
            progress = {
                "step": self.step,
                "best": self.best,
                "last": self.last,
                "before_gan": self.before_gan,
                "judged_by": JUDGED_BY,
                "seconds": self._watch.seconds,
                "config": to_plain(self.config),
                "objective": self.learner.objective.note,
            }
            save_state(self.folder / "state.safetensors", self.learner.state(), progress)

    def _restore(self, newest: Path) -> float:
        """Put the run back and return the seconds that it has taken."""
        state = self._sound_state(newest)
        found = read_progress(state)
        before = build_config(type(self.config), found["config"], f"{state}: config")
        if found["step"] == before.steps < self.config.steps:  # a finished run, extended
            before = replace(before, steps=self.config.steps)
        changed = differences(before, self.config)
        # Older runs say of features, which no run compares any more, that they weighed nothing.
        was = found.get("objective", "").replace(", 0 features", "")
        now = self.learner.objective.note
        if was != now:
            changed.append(f"objective {was or 'plain'} -> {now or 'plain'}")
        if changed:
            raise ConfigError(
                f"{state} is of another run ({', '.join(changed)}); "
                "set that back to resume, or choose another --name"
            )
        progress = load_state(state, self.learner.state())
        self.step = progress["step"]
        if progress.get("judged_by") == JUDGED_BY:
            self.best, self.last = progress["best"], progress["last"]
            self.before_gan = progress["before_gan"]
        return float(progress.get("seconds", 0.0))

    def _sound_state(self, newest: Path) -> Path:
        problem: CheckpointError | None = None
        for state in (newest, previous(newest)):
            if state.exists():
                try:
                    read_progress(state)
                except CheckpointError as error:
                    problem = problem or error
                else:
                    if problem and self.first:
                        _log.warning("%s; going on from %s", problem, state)
                    return state
        if problem:
            raise problem
        raise ConfigError(f"--resume: there is no {newest}; start the run without --resume")


def train(
    config: TrainConfig,
    resume: bool = False,
    progress: bool = True,
    objective: Objective | None = None,
) -> TrainResult:
    """Train as ``config`` says; see :class:`Trainer` and :meth:`Trainer.run`."""
    return Trainer(config, progress, objective).run(resume)


def command(arguments: Sequence[str]) -> int:
    """Run ``derain train`` and return its exit code."""
    parser = training_parser(TrainConfig, prog="derain train", description="Train a network.")
    config, resume = parse_training(TrainConfig, parser, arguments)
    with resumable(Path(config.out) / config.name / "state.safetensors"):
        result = train(config, resume=resume)
    for line in result.summary:
        print(line)
    return result.exit_code
