"""YAML files of options, and files that extend others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

PARENT = "extends"


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, and the files that it extends.

    The key ``extends`` names another file, relative to this one. Its mappings are merged with
    those here, however deep, and where both have a value the one here wins; lists are values.

    Raises:
        ConfigError: a file that is missing, unreadable, not YAML or not a mapping, or one that
            extends itself.
    """
    return _read(Path(path), ())


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping of options over another, as a file lies over the one that it extends."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in below:
        raise ConfigError(f"--config {path}: extends itself; remove one {PARENT!r}")
    values = _read_yaml(path)
    parent = values.pop(PARENT, None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise ConfigError(f"--config {path}: {PARENT} {parent!r} is not the name of a file")
    return merge(_read(path.parent / parent, (*below, path.resolve())), values)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split())
        raise ConfigError(f"--config {path}: is not YAML ({cause})") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"--config {path}: holds no options; write them as lines of 'key: value'")
    return {str(key): value for key, value in values.items()}
