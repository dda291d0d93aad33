"""What is wrong with a config, said in one line: where, what stands there, and what should."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from core.errors import ConfigError


def check_keys(hint: Any, values: Any, where: str = "") -> None:
    """Refuse keys that a config does not have, however deep they lie.

    Args:
        hint: config dataclass, or the annotation of one of its fields.
        values: what the file holds for it; values of the wrong type are left to the parser.
        where: dotted place of ``values`` in the file, for the error.

    Raises:
        ConfigError: an unknown key; names its place and the nearest known key.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(values, Mapping):
        hints = get_type_hints(hint)
        known = [field.name for field in dataclasses.fields(hint)]
        for key, value in values.items():
            place = f"{where}.{key}" if where else str(key)
            if key not in known:
                raise ConfigError(f"{place}: unknown key; {nearest(str(key), known)}")
            check_keys(hints[key], value, place)
    elif origin in (Union, UnionType):
        for option in inner:
            check_keys(option, values, where)
    elif origin is dict and isinstance(values, Mapping):
        for key, value in values.items():
            check_keys(inner[1], value, f"{where}.{key}")
    elif origin is tuple and isinstance(values, list):
        for index, value in enumerate(values):
            check_keys(inner[0], value, f"{where}[{index}]")


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


def reword(message: str, cls: type[Any]) -> str:
    """Turn what the parser says about a config of ``cls`` into one plain line."""
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
        close = difflib.get_close_matches(unknown[1].split(".")[-1], _all_names(cls), n=1)
        line += f"; did you mean {close[0]!r}?" if close else "; --help lists them"
    return line


def _all_names(cls: type[Any]) -> list[str]:
    names = []
    hints: list[Any] = [cls]
    while hints:
        hint = hints.pop(0)
        if dataclasses.is_dataclass(hint):
            names += [field.name for field in dataclasses.fields(hint)]
            hints.extend(get_type_hints(hint).values())
        hints.extend(get_args(hint))
    return list(dict.fromkeys(names))
