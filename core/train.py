"""The training loop, on Lightning Fabric: one for every architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader

from core.checkpoint import save_checkpoint
from core.config import build_config, to_plain
from core.errors import ConfigError
from core.evaluate import Pairs, mean_quality
from core.inference import derain
from core.interrupt import StopRequest
from core.learner import Learner
from core.mixture import MixtureDataset, StepSampler
from core.progress import step_bar
from core.run_log import RunLog
from core.train_config import TrainConfig, differences
from core.training_state import load_state, read_progress, save_state
from edge_runtime.atomic import write_atomically
from edge_runtime.metrics import measure

SCORE_CAP_DB = 40.0


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        folder: where ``best``, ``last`` and ``state`` (.safetensors), ``config.yaml`` and the
            folder ``logs`` are.
        step: finished steps.
        score: best validation score so far in dB, None before the first validation.
        stopped_by: number of the signal that ended it early, or None.
    """

    folder: Path
    step: int
    score: float | None
    stopped_by: int | None


class Trainer:
    """One training run.

    Args:
        config: what to train.
        progress: show bars on standard error.

    Raises:
        CheckpointError: ``config.init`` cannot be read.
        ConfigError: ``config.init`` holds another network.
    """

    def __init__(self, config: TrainConfig, progress: bool = True) -> None:
        self.config = config
        self.progress = progress
        self.folder = Path(config.out) / config.name
        self.step = 0
        self.best: float | None = None
        self.learner = Learner(config)

    def run(self, resume: bool = False) -> TrainResult:
        """Train to the end, or until the first SIGINT or SIGTERM; the state is saved either way.

        Args:
            resume: go on from the folder's ``state.safetensors``.

        Raises:
            ConfigError: the folder holds a run already and ``resume`` is not set; or it is set
                and the folder holds none, or one with another config.
            CheckpointError: the state is torn.
            DataError: data that is missing or wrong.
            TrainingError: the gradient is not finite, or the disk is full. What was saved before
                stays as it was.
        """
        state = self.folder / "state.safetensors"
        if resume:
            self._restore(state)
        elif state.exists():
            raise ConfigError(
                f"{self.folder} holds a run already; "
                "add --resume to go on with it or choose another --name"
            )
        config = self.config
        data = MixtureDataset(config.mixture, config.data_root, config.seed, self.progress)
        validation = {
            name: list(test_set.read(config.data_root, name if self.progress else None))
            for name, test_set in config.validation.items()
        }
        self._write_config()
        with RunLog(self.folder / "logs", self.step) as log, StopRequest() as stop:
            self._loop(data, validation, log, stop)
        stopped_by = stop.requested if self.step < config.steps else None
        return TrainResult(self.folder, self.step, self.best, stopped_by)

    def _loop(
        self, data: MixtureDataset, validation: Mapping[str, Pairs], log: RunLog, stop: StopRequest
    ) -> None:
        config = self.config
        with step_bar(config.name, self.step, config.steps, shown=self.progress) as bar:
            for rainy, clean in self._batches(data):
                loss = self.learner.update(rainy, clean, self.step)
                self.step += 1
                bar.update()
                last = self.step == config.steps
                if self.step % config.log_every == 0 or last:
                    value, rate = float(loss), config.learning_rate_at(self.step - 1)
                    log.write(self.step, {"loss": value, "learning_rate": rate})
                    best = {} if self.best is None else {"best": f"{self.best:.2f} dB"}
                    bar.set_postfix({"loss": f"{value:.4f}", **best}, refresh=False)
                if self.step % config.validate_every == 0 or last:
                    self._validate(validation, log)
                stopping = stop.requested is not None
                if self.step % config.save_every == 0 or last or stopping:
                    self._save()
                if stopping:
                    break

    def _batches(self, data: MixtureDataset) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            data,
            batch_size=config.batch_size,
            sampler=StepSampler(self.step, config.steps, config.batch_size),
            num_workers=config.workers,
            # One of its own, so that resuming draws nothing from the random state that is saved.
            generator=torch.Generator(),
        )
        batches: Any = self.learner.fabric.setup_dataloaders(loader)
        return iter(batches)

    def _validate(self, validation: Mapping[str, Pairs], log: RunLog) -> None:
        network = self.learner.average.module.eval()
        multiple = self.learner.network_config.size_multiple
        scores: list[float] = []
        for name, pairs in validation.items():
            quality = mean_quality(
                [measure(derain(network, rainy, multiple), clean) for rainy, clean in pairs]
            )
            scores.append(min(quality["rgb"].psnr, SCORE_CAP_DB))
            for protocol, mean in quality.items():
                place = f"{name}/{protocol}"
                log.write(self.step, {f"{place}_psnr": mean.psnr, f"{place}_ssim": mean.ssim})
        score = sum(scores) / len(scores)
        log.write(self.step, {"score": score})
        if self.best is None or score > self.best:
            self.best = score
            save_checkpoint(self.folder / "best.safetensors", self.learner.checkpoint(self.step))

    def _save(self) -> None:
        save_checkpoint(self.folder / "last.safetensors", self.learner.checkpoint(self.step))
        save_state(
            self.folder / "state.safetensors",
            network=self.learner.network.module,
            average=self.learner.average,
            optimizer=self.learner.optimizer.optimizer,
            progress={"step": self.step, "best": self.best, "config": to_plain(self.config)},
        )

    def _restore(self, state: Path) -> None:
        if not state.exists():
            raise ConfigError(f"--resume: there is no {state}; start the run without --resume")
        before = build_config(TrainConfig, read_progress(state)["config"], f"{state}: config")
        changed = differences(before, self.config)
        if changed:
            raise ConfigError(
                f"{state} is of another run ({', '.join(changed)}); "
                "set that back to resume, or choose another --name"
            )
        progress = load_state(
            state,
            network=self.learner.network.module,
            average=self.learner.average,
            optimizer=self.learner.optimizer.optimizer,
        )
        self.step, self.best = progress["step"], progress["best"]

    def _write_config(self) -> None:
        text = yaml.safe_dump(to_plain(self.config), sort_keys=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "config.yaml", text.encode())
        except OSError as error:
            raise ConfigError(f"out {self.folder}: cannot be written ({error.strerror})") from error


def train(config: TrainConfig, resume: bool = False, progress: bool = True) -> TrainResult:
    """Train as ``config`` says; see :meth:`Trainer.run`."""
    return Trainer(config, progress).run(resume)
