"""Frozen dataclasses as JSON and back, so that a file from elsewhere is exactly what it says."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edge_runtime.errors import RecordError
from edge_runtime.models.card import ModelCard

Record = TypeVar("Record")


def to_plain(value: Any) -> Any:
    """Return a record as JSON values: objects, lists, texts, finite numbers, booleans and null."""
    if isinstance(value, ModelCard):
        return json.loads(value.to_json())
    if dataclasses.is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def to_json(record: Any) -> str:
    """Return a record as JSON: fields in their order, two spaces, a final newline."""
    return json.dumps(to_plain(record), indent=2, allow_nan=False) + "\n"


def from_json(kind: type[Record], text: str, schema: int, source: str) -> Record:
    """Read what ``to_json`` wrote.

    Args:
        kind: A dataclass with a field ``schema``; fields with a default may be missing.
        text: The file.
        schema: The newest that this version understands; the oldest is 1.
        source: Where the text came from, for errors.

    Raises:
        RecordError: Not JSON, of a newer schema, a key missing or unknown, a wrong type.
        CardError: A card in it that is none.
    """
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source}: not JSON ({error}); copy it again") from None
    if not isinstance(values, dict):
        raise RecordError(f"{source}: must be an object, got {_said(values)}")
    found = values.get("schema")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise RecordError(f"{source}: schema must be from 1 to {schema}, got {found!r}")
    if found > schema:
        raise RecordError(
            f"{source}: schema {found} is newer than {schema}, the newest that this version "
            "reads; upgrade with: pip install --upgrade edge-derain"
        )
    record: Record = from_plain(kind, values, source)
    return record


def from_plain(kind: Any, values: Any, where: str) -> Any:
    """Make what the annotation ``kind`` says of JSON values.

    Dataclasses, ``tuple[X, ...]``, ``dict[str, X]``, ``Literal``, unions with None, text, integers,
    finite numbers and booleans are known.

    Raises:
        RecordError: Names the place, the value and what was expected.
    """
    if kind is ModelCard:
        return ModelCard.from_json(json.dumps(values), where)
    if dataclasses.is_dataclass(kind):
        return _record(kind, values, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if values is None:
            return None
        (only,) = (option for option in inner if option is not type(None))
        return from_plain(only, values, where)
    if origin is tuple and isinstance(values, list):
        return tuple(from_plain(inner[0], v, f"{where}[{i}]") for i, v in enumerate(values))
    if origin is dict and isinstance(values, dict):
        return {key: from_plain(inner[1], v, f"{where}.{key}") for key, v in values.items()}
    if origin is Literal and values in inner:
        return values
    if kind is float and isinstance(values, (int, float)) and not isinstance(values, bool):
        if math.isfinite(values):
            return float(values)
    elif kind in (str, int, bool) and type(values) is kind:
        return values
    raise RecordError(f"{where} must be {_expected(kind)}, got {_said(values)}")


def _record(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise RecordError(f"{where}: must be an object, got {_said(values)}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise RecordError(f"{where}: unknown key {key!r}; {hint}")
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise RecordError(f"{where}: key {name!r} is missing; make the file again")
    return kind(**{key: from_plain(hints[key], v, f"{where}: {key}") for key, v in values.items()})


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _expected(kind: Any) -> str:
    plain = {str: "a text", int: "an integer", float: "a finite number", bool: "true or false"}
    if kind in plain:
        return plain[kind]
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    return "a list" if get_origin(kind) is tuple else "an object"


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
