"""From plain mappings and YAML files to frozen config dataclasses, with errors that help."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from core.config_errors import check_keys, nearest, reword
from core.config_files import read_config
from core.errors import ConfigError
from core.networks import ARCHITECTURES

T = TypeVar("T")


def config_parser(cls: type[Any], **options: Any) -> ArgumentParser:
    """Build a command line with ``--config FILE`` and one option for every field of ``cls``."""
    parser = ArgumentParser(exit_on_error=False, **options)
    parser.add_argument("--config", action="config", help="YAML file with any of the options")
    parser.add_class_arguments(cls, None)
    return parser


def parse_config(cls: type[T], parser: ArgumentParser, arguments: Iterable[str]) -> T:
    """Parse a command line made by :func:`config_parser` into an instance of ``cls``.

    Raises:
        ConfigError: a file that cannot be read, an unknown key (with the nearest known one), a
            wrong type or value.
    """
    files, others = _config_files(list(arguments))
    contents: list[str] = []
    for path in files:
        values = read_config(path)
        try:
            check_keys(cls, values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        contents += ["--config", json.dumps(values, default=str)]
    try:
        found = parser.instantiate(parser.parse_args([*contents, *others]))
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(reword(str(error), cls)) from error
    return _build(cls, vars(found))


def load_config(cls: type[T], path: str | Path) -> T:
    """Read a YAML file into an instance of ``cls``; errors as :func:`parse_config`."""
    return parse_config(cls, config_parser(cls), ["--config", str(path)])


def build_config(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build ``cls`` from a mapping, such as the ``network`` part of a config or a checkpoint.

    Args:
        cls: config dataclass.
        values: its fields; those left out take their defaults.
        where: name of ``values``, for errors.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a wrong type or value.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: must be a mapping, got {values!r}")
    check_keys(cls, values, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, None)
    try:
        found = parser.instantiate(parser.parse_object(copy.deepcopy(dict(values))))
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {reword(str(error), cls)}") from error
    return _build(cls, vars(found))


def network_config(architecture: str, values: Mapping[str, Any]) -> Any:
    """Build the config of a named architecture.

    Raises:
        ConfigError: an unknown architecture, or values that its config does not take.
    """
    if architecture not in ARCHITECTURES:
        raise ConfigError(
            f"architecture {architecture!r}: unknown; {nearest(architecture, ARCHITECTURES)}"
        )
    return build_config(ARCHITECTURES[architecture].config, values, "network")


def to_plain(config: Any) -> Any:
    """Turn a config into mappings, lists and scalars that YAML and JSON can hold."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: to_plain(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, Mapping):
        return {key: to_plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_plain(value) for value in config]
    return config


def _config_files(arguments: list[str]) -> tuple[list[str], list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    try:
        found, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError("--config: needs a file, such as configs/student_small.yaml") from error
    return found.config, others


def _build(cls: type[T], values: Mapping[str, Any]) -> T:
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{key: value for key, value in values.items() if key in known})
