"""Config dataclasses read from YAML files, command lines and mappings, with errors that help."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from core.errors import ConfigError
from core.networks import ARCHITECTURES

T = TypeVar("T")


class _Parser(ArgumentParser):
    """A parser whose help has the words of docstrings without their marks."""

    def format_help(self, *arguments: Any) -> str:
        marked = re.sub(r":\w+:`[\w.]*?(\w+)`", r"\1", super().format_help(*arguments))
        return marked.replace("``", "")


def config_parser(cls: type[Any], **options: Any) -> ArgumentParser:
    """Build a command line with ``--config FILE`` and one option for every field of ``cls``."""
    parser = _Parser(exit_on_error=False, **options)
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
            values = check_keys(cls, values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        contents += ["--config", json.dumps(values, default=str)]
    try:
        return _instance(cls, parser, parser.parse_args([*contents, *others]))
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(_reworded(str(error), parser)) from error


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
    checked = check_keys(cls, values, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, None)
    try:
        return _instance(cls, parser, parser.parse_object(copy.deepcopy(checked)))
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {_reworded(str(error), parser)}") from error


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


def _config_files(arguments: list[str]) -> tuple[list[str], list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    try:
        found, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError("--config: needs a file, such as configs/own_folder.yaml") from error
    return found.config, others


def _instance(cls: type[T], parser: ArgumentParser, parsed: Namespace) -> T:
    values = vars(parser.instantiate(parsed))
    return cls(**{f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values})  # type: ignore[arg-type]


PARENT = "extends"


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, and the files that it extends.

    The key ``extends`` names another file, relative to this one, or a list of them. Their mappings
    are merged with those here, however deep, and where two have a value the later wins, and this
    file over all; lists are values, and null takes out a mapping. Where there is no clone,
    ``configs/...`` is what ships in the package.

    Raises:
        ConfigError: a file that is missing, unreadable, not YAML or not a mapping, or one that
            extends itself.
    """
    place, shipped = Path(path), Path(str(resources.files("core"))) / path
    elsewhere = place.parts[:1] == ("configs",) and not place.exists() and shipped.is_file()
    return _read(shipped if elsewhere else place, ())


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping of options over another, as a file lies over the one that it extends."""
    merged = dict(below)
    for key, value in above.items():
        below_is_mapping = isinstance(merged.get(key), Mapping)
        if value is None and below_is_mapping:
            del merged[key]
        else:
            both = below_is_mapping and isinstance(value, Mapping)
            merged[key] = merge(merged[key], value) if both else value
    return merged


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in below:
        raise ConfigError(f"--config {path}: extends itself; remove one {PARENT!r}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split())
        raise ConfigError(f"--config {path}: is not YAML ({cause})") from error
    if not isinstance(found, Mapping):
        raise ConfigError(f"--config {path}: holds no options; write them as lines of 'key: value'")
    values = {str(key): value for key, value in found.items()}
    parents = values.pop(PARENT, [])
    merged: dict[str, Any] = {}
    for parent in parents if isinstance(parents, list) else [parents]:
        if not isinstance(parent, str):
            raise ConfigError(f"--config {path}: {PARENT} {parent!r} is not the name of a file")
        merged = merge(merged, _read(path.parent / parent, (*below, path.resolve())))
    return merge(merged, values)


def check_keys(hint: Any, values: Any, where: str = "") -> Any:
    """Refuse keys that a config does not have, however deep they lie.

    Args:
        hint: config dataclass, or the annotation of one of its fields.
        values: what the file holds for it; values of the wrong type are left to the parser.
        where: dotted place of ``values`` in the file, for the error.

    Returns:
        The values. A list where a mapping by name is wanted, as older files have it, becomes one,
        with the places in the list for names; a field that is no more, with the value at which it
        did nothing (``RETIRED`` of the config), is left out.

    Raises:
        ConfigError: an unknown key; names its place and the nearest known key.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(values, Mapping):
        retired = getattr(hint, "RETIRED", {})
        gone = [key for key in values if key in retired and values[key] == retired[key]]
        values = {key: value for key, value in values.items() if key not in gone}
        hints = get_type_hints(hint)
        known = [field.name for field in dataclasses.fields(hint)]
        checked = {}
        for key, value in values.items():
            place = f"{where}.{key}" if where else str(key)
            if key not in known:
                raise ConfigError(f"{place}: unknown key; {nearest(str(key), known)}")
            checked[key] = check_keys(hints[key], value, place)
        return checked
    if origin in (Union, UnionType):
        for option in inner:
            values = check_keys(option, values, where)
    elif origin is dict and dataclasses.is_dataclass(inner[1]):
        if isinstance(values, list) and all(isinstance(value, Mapping) for value in values):
            values = {str(index): value for index, value in enumerate(values)}
        if isinstance(values, Mapping):
            return {k: check_keys(inner[1], value, f"{where}.{k}") for k, value in values.items()}
    elif origin is tuple and isinstance(values, list):
        return [check_keys(inner[0], v, f"{where}[{index}]") for index, v in enumerate(values)]
    return values


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of ``known`` was probably meant by ``name``, or what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a mapping",
}
_REWORDINGS = (
    # A field that may be null: only what its other type says is of interest.
    (r"Does not validate against any of the Union subtypes.*?Errors: - (.*?) - Expected.*", r"\1"),
    (r"Problem with given class_path '[^']*': ", ""),
    (r'Parser key "([^"]*)": ', r"\1: "),
    (r"Expected an? typing\.Literal\[(.*?)\]\. Got value: (.*)", r"must be one of \1, got \2"),
    (r"the following arguments are required: (.*)", r"missing \1; give it in the --config file"),
    (r"[Uu]nrecogni[sz]ed arguments: -*([\w.-]+).*", r"\1: unknown option"),
    (r"argument (-\S+): expected one argument", r"\1: needs a value"),
)


def _reworded(message: str, parser: ArgumentParser) -> str:
    """Turn what the parser says into one plain line."""
    line = " ".join(message.split())
    for pattern, plain in _REWORDINGS:
        line = re.sub(pattern, plain, line)
    line = re.sub(
        r"Expected an? <class '(\w+)'>\. Got value: (.*)",
        lambda found: f"must be {_KINDS.get(found[1], found[1])}, got {found[2]}",
        line,
    )
    unknown = re.fullmatch(r"([\w.-]+): unknown option", line)
    if unknown:
        names = {name.rpartition(".")[2] for name, _ in parser.get_defaults().items()}
        close = difflib.get_close_matches(unknown[1].rpartition(".")[2], names, n=1)
        line += f"; did you mean {close[0]!r}?" if close else "; --help lists them"
    return line
