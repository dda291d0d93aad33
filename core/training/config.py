"""Training runs as configs: every field is a key of the YAML files and an option."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from jsonargparse import ArgumentParser

from core.config import config_parser, network_config, parse_config
from core.errors import ConfigError, check_bounds
from core.evaluation.evaluate import TestSetConfig
from core.inference import Precision
from core.mixture.config import MixtureConfig
from core.training.losses import AdversarialConfig, LossConfig
from edge_runtime.models.records import to_plain


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        name: name of the model and of its folder under ``out``.
        architecture: which network: deconv, gan_lstm, jorder, rescan or student.
        mixture: what it sees.
        validation: data sets that checkpoints are judged on; the score is the mean gain in rgb
            PSNR on those with rain, each up to 10 dB and as often as its weight says, less a tenth
            of what those without lack of 50 dB.
        network: fields of the architecture's config.
        role: ``student`` or ``teacher``.
        data_root: folder to which all data sets are relative.
        out: folder of all runs.
        init: checkpoint to start from instead of random weights, shipped name or path, of the
            same network but for the number of its stages; a smaller student or GAN-LSTM grows.
        licence: what may be done with the weights; cards, artifacts and reports say it again.
            Empty keeps what ``init`` says.
        loss: weights of the loss terms.
        adversarial: the GAN phase; left out unless its weight is set.
        steps: optimizer steps in all.
        batch_size: crops a step, over all processes and parts.
        accumulate: parts in which a process works through its share of the batch, for less memory.
        learning_rate: at its highest; rises linearly over ``warmup_steps``, then falls as a
            cosine to a thousandth.
        warmup_steps: length of the rise.
        optimizer: ``muon`` learns more a step than ``adamw``.
        weight_decay: of the optimizer, decoupled.
        gradient_clip: largest norm of the gradient; 0 does not clip.
        ema_decay: of the moving average of the weights that is validated and kept.
        precision: of the arithmetic; ``auto`` is ``bf16-mixed`` where the device has instructions
            for it, otherwise ``32-true``, which is faster there.
        seed: of weights, crops and rain.
        validate_every: steps between validations.
        save_every: steps between training states on disk.
        log_every: steps between log entries.
        workers: processes that prepare batches; 0 prepares them in the training process.
        threads: CPU threads of the arithmetic; 0 leaves the choice to torch.
        accelerator: kind of device; ``auto`` takes a GPU where there is one.
        devices: devices of a machine, one process each, between which every step is shared.
        num_nodes: machines; start the same command on each under ``torchrun``.
        compile: translate the network with ``torch.compile``, which needs a C++ compiler: a slow
            first step, then faster ones.
    """

    name: str
    architecture: str
    mixture: MixtureConfig
    validation: dict[str, TestSetConfig]
    network: dict[str, Any] = field(default_factory=dict)
    role: Literal["student", "teacher"] = "student"
    data_root: str = "data"
    out: str = "runs"
    init: str = ""
    licence: str = ""
    loss: LossConfig = field(default_factory=LossConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    steps: int = 100_000
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    precision: Precision = "32-true"
    seed: int = 0
    validate_every: int = 5000
    save_every: int = 1000
    log_every: int = 100
    workers: int = 0
    threads: int = 0
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    compile: bool = False

    RETIRED: ClassVar = {"strategy": "auto"}

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or any(sign in self.name for sign in "/\\"):
            raise ConfigError(f"name {self.name!r} must be a file name without separators")
        self._check_crop(network_config(self.architecture, self.network).size_multiple)
        if not self.validation:
            raise ConfigError("validation is empty; name at least one data set")
        counts = ("steps", "batch_size", "accumulate", "validate_every", "save_every", "log_every")
        least = ("weight_decay", "gradient_clip", "warmup_steps", "workers", "threads", "seed")
        check_bounds(self, devices=1, num_nodes=1, **dict.fromkeys(counts, 1))
        check_bounds(self, **dict.fromkeys(least, 0))
        self._check_processes()
        self._check_schedules()
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay {self.ema_decay} is not within [0, 1)")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate {self.learning_rate} must be above 0")

    def _check_crop(self, size_multiple: int) -> None:
        crop = self.mixture.crop
        if crop % size_multiple:
            raise ConfigError(
                f"mixture.crop {crop} is not a multiple of {size_multiple}, as this "
                f"{self.architecture} needs; take {crop + -crop % size_multiple}"
            )
        if self.loss.ssim and crop < 11:
            raise ConfigError(f"mixture.crop {crop} is smaller than the SSIM window; take 16")

    def _check_schedules(self) -> None:
        begins = self.adversarial.start
        if self.adversarial.weight and begins >= self.steps:
            raise ConfigError(
                f"adversarial.start {begins}: the run ends after {self.steps} steps, and the GAN "
                "phase would never begin; take an earlier start, or more steps"
            )
        # Which a short trial of the default may leave unfinished.
        if self.warmup_steps >= self.steps and self.warmup_steps != TrainConfig.warmup_steps:
            raise ConfigError(
                f"warmup_steps {self.warmup_steps}: the run ends after {self.steps} steps, and the "
                "learning rate would rise to its end; take fewer, or more steps"
            )

    def _check_processes(self) -> None:
        shares = self.processes * self.accumulate
        if self.batch_size % shares:
            raise ConfigError(
                f"batch_size {self.batch_size} is not a multiple of {shares} (devices x num_nodes "
                f"x accumulate); take {self.batch_size + -self.batch_size % shares}"
            )
        if self.adversarial.weight and self.adversarial.r1 and self.processes > 1:
            raise ConfigError(
                f"adversarial.r1 {self.adversarial.r1}: works on one device only; "
                "take adversarial.spectral instead"
            )
        if self.adversarial.weight and self.mixture.crop < 2**self.adversarial.depth:
            raise ConfigError(
                f"adversarial.depth {self.adversarial.depth} needs a mixture.crop of at least "
                f"{2**self.adversarial.depth}, not {self.mixture.crop}"
            )

    @property
    def processes(self) -> int:
        """Number of processes that share the work, one for each device."""
        return self.devices * self.num_nodes

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of the step that follows ``step`` finished ones."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * rise * max(fall, 1e-3)


_FREE = "data_root out licence accumulate validate_every save_every log_every workers threads "
FREE_FIELDS = frozenset((_FREE + "accelerator devices num_nodes compile").split())
"""A resumed run may change these without becoming another run."""


def differences(
    before: TrainConfig | Mapping[str, Any], now: TrainConfig | Mapping[str, Any]
) -> list[str]:
    """List what would make ``now`` another run than ``before``, as ``'mixture.crop 128 -> 64'``."""
    old, new = _leaves(to_plain(before)), _leaves(to_plain(now))
    return [
        f"{key} {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key.split(".")[0] not in FREE_FIELDS
    ]


def _leaves(plain: Any, where: str = "") -> dict[str, Any]:
    items: Iterable[tuple[str, Any]]
    if where == "mixture.parts" and isinstance(plain, dict):  # what they are called changes nothing
        plain = list(plain.values())
    if isinstance(plain, dict):
        items = ((f"{where}.{key}" if where else key, value) for key, value in plain.items())
    elif isinstance(plain, list) and any(isinstance(value, dict) for value in plain):
        items = ((f"{where}[{index}]", value) for index, value in enumerate(plain))
    else:
        return {where: plain}
    return {key: leaf for name, value in items for key, leaf in _leaves(value, name).items()}


C = TypeVar("C", bound=TrainConfig)


def training_parser(cls: type[TrainConfig], **options: Any) -> ArgumentParser:
    """Build a command line with ``--config``, ``--resume`` and an option for every field."""
    parser = config_parser(cls, **options)
    parser.add_argument(
        "--resume",
        action="store_true",
        default=argparse.SUPPRESS,
        help="go on with the interrupted run of this name",
    )
    return parser


def parse_training(
    cls: type[C], parser: ArgumentParser, arguments: Sequence[str]
) -> tuple[C, bool]:
    """Parse it; dashes in the names of options stand for underscores.

    Returns:
        The config, and whether ``--resume`` was given.

    Raises:
        ConfigError: as :func:`core.config.parse_config`.
    """
    config = parse_config(cls, parser, [_underscored(argument) for argument in arguments])
    return config, "--resume" in arguments


def _underscored(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"
