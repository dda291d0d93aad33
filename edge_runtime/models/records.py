"""Frozen dataclasses as JSON and back, so that a file from elsewhere is exactly what it says.

msgspec makes the records and checks types and limits (``Annotated[..., msgspec.Meta(...)]``). What
is here says in one line which place is wrong, what stands there, and what should.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from edge_runtime.errors import EdgeDerainError, RecordError

Record = TypeVar("Record")
Finite = Annotated[float, Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]
"""A number that JSON can hold: neither NaN nor infinite."""


def to_plain(value: Any, *, infinite: bool = False) -> Any:
    """Return a record as JSON values: objects, lists, texts, numbers, booleans and null.

    What is infinite becomes null, unless ``infinite`` keeps it.
    """
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(item, infinite=infinite) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item, infinite=infinite) for key, item in value.items()}
    return None if isinstance(value, float) and math.isinf(value) and not infinite else value


def to_json(record: Any) -> str:
    """Return a record as JSON: fields in their order, two spaces, a final newline."""
    return json.dumps(to_plain(record), indent=2, allow_nan=False) + "\n"


def parse(text: str, source: str, error: type[EdgeDerainError] = RecordError) -> dict[str, Any]:
    """Return the JSON object in a text, or raise ``error``, which names its ``source``."""
    try:
        values = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as reason:
        raise error(f"{source}: not JSON ({reason}); copy it again") from None
    if not isinstance(values, dict):
        raise error(f"{source}: must be an object, got {_said(values)}")
    return values


def from_json(
    kind: type[Record],
    text: str,
    schema: int,
    source: str,
    upgraded: Callable[[Any], Any] = lambda values: values,
) -> Record:
    """Read what ``to_json`` wrote.

    Args:
        kind: A dataclass with a field ``schema``; fields with a default may be missing.
        text: The file.
        schema: The newest that this version understands; the oldest is 1.
        source: Where the text came from, for errors.
        upgraded: Returns the values of an older file as one of today has them.

    Raises:
        RecordError: Not JSON, of a newer schema, a key missing or unknown, a wrong type.
        CardError: A card in it that is none.
    """
    values = parse(text, source)
    check_schema(values.get("schema"), schema, source)
    return from_plain(kind, upgraded(values), source)


def check_schema(
    found: Any, newest: int, source: str, error: type[EdgeDerainError] = RecordError
) -> None:
    """Raise ``error`` unless a schema is from 1 to the ``newest`` that this version reads."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise error(f"{source}: schema must be from 1 to {newest}, got {_said(found)}")
    if found > newest:
        raise error(
            f"{source}: schema {found} is newer than {newest}, the newest that this version "
            "reads; upgrade with: pip install --upgrade edge-derain"
        )


def from_plain(
    kind: type[Record], values: Any, where: str, error: type[EdgeDerainError] = RecordError
) -> Record:
    """Make what the annotation ``kind`` says of JSON values.

    Raises:
        RecordError: Or ``error``: names the place, the value and what was expected.
    """
    try:
        made = msgspec.convert(values, kind)
    except msgspec.ValidationError as reason:
        raise error(f"{where}: {_explained(str(reason), kind, values)}") from None
    _refuse_unknown(values, to_plain(made), where, error)
    return made


def _explained(reason: str, kind: Any, values: Any) -> str:
    """Return what msgspec says with the value and, of a choice, what there is to choose from."""
    said, _, path = reason.partition(" - at `$")
    steps = re.findall(r"\[(\d+)\]|(\w+)", path)
    place = path.rstrip("`").lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", said):
        return f"{place + ': ' if place else ''}key {missing[1]!r} is missing; make the file again"
    for index, key in steps:
        if key:
            kind = _kind_of(kind, key)
            values = values.get(key) if isinstance(values, dict) else values
        elif isinstance(values, (list, tuple)):
            values = values[int(index)]
    expected = said.removeprefix("Expected ").partition(", got")[0].replace("`", "")
    parts = _parts(kind)
    limits = [each.description for each in parts if isinstance(each, Meta) and each.description]
    choices = [get_args(each) for each in parts if get_origin(each) is Literal]
    if choices:
        expected = "one of " + ", ".join(repr(choice) for choice in choices[0])
    elif limits:
        expected = limits[0]
    return f"{place or 'it'} must be {expected}, got {_said(values)}"


def _kind_of(kind: Any, field: str) -> Any:
    """Return the annotation of a field of the record that is somewhere in ``kind``."""
    hints = (get_type_hints(each, include_extras=True) for each in _parts(kind) if _is_record(each))
    return next((each[field] for each in hints if field in each), None)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _parts(kind: Any) -> list[Any]:
    """Return an annotation and all that it is made of."""
    inner = () if get_origin(kind) is Literal else get_args(kind)
    return [kind, *(part for each in inner for part in _parts(each))]


def _refuse_unknown(given: Any, known: Any, where: str, error: type[EdgeDerainError]) -> None:
    """Raise where ``given`` has keys that came to nothing in ``known``."""
    if isinstance(given, dict):
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
                raise error(f"{where}: unknown key {key!r}; {hint}")
            _refuse_unknown(given[key], known[key], f"{where}: {key}", error)
    elif isinstance(given, (list, tuple)):
        for index, (item, other) in enumerate(zip(given, known, strict=True)):
            _refuse_unknown(item, other, f"{where}[{index}]", error)


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
