"""The command line of a training run, whichever command starts it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from core.config import config_parser, parse_config
from core.training.config import TrainConfig

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
    quiet_fabric()
    config = parse_config(cls, parser, [_underscored(argument) for argument in arguments])
    return config, "--resume" in arguments


def quiet_fabric() -> None:
    """Keep Lightning from announcing the precision, which the config says already."""
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _underscored(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"
