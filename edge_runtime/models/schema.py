"""Model cards as JSON and back: what is not exactly a card is refused, and older ones are read."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from typing import Any

from edge_runtime.errors import CardError
from edge_runtime.models.scored import (
    Golden,
    LossRow,
    QualityRow,
    StageStep,
    TeacherLoss,
    learned_from,
)

SCHEMA = 3
"""What is written. Cards of schema 1 and 2 are read still."""

_ADDED: dict[str, Any] = {"io": "float32", "golden": None, "step": None}
"""What cards of schema 1 mean, which lack these fields."""


def schema_message(schema: object) -> str:
    """Say what is wrong with a schema that is not read."""
    if isinstance(schema, int) and schema > SCHEMA:
        return (
            f"schema {schema} is newer than {SCHEMA}, the newest that this version reads; "
            "upgrade with: pip install --upgrade edge-derain"
        )
    return (
        f"schema must be {SCHEMA}, or from 1 in a file, got {schema!r}; export the artifact again"
    )


def encode(value: Any) -> Any:
    """Return a card, or what is in one, as JSON values; an infinite PSNR becomes null."""
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def with_tables(values: dict[str, Any]) -> dict[str, Any]:
    """Return an encoded card with its rows of scores and losses as tables, a third of the text."""
    teacher = values["teacher"]
    if teacher is not None:
        teacher = {**teacher, "rows": _table(teacher["rows"])}
    return {**values, "quality": _table(values["quality"]), "teacher": teacher}


def decode(text: str, known: list[str]) -> dict[str, Any]:
    """Read the fields of a card.

    Args:
        text: JSON, with rows as objects or as tables.
        known: names of the fields.

    Raises:
        CardError: Not JSON, a key missing or unknown, a value of a wrong kind, or a schema that
            only a later version understands.
    """

    def refuse(constant: str) -> None:
        raise CardError(f"{constant} is not JSON; write a finite number")

    try:
        values = json.loads(text, parse_constant=refuse)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CardError(f"not JSON ({error}); export the artifact again") from None
    values = _exact_keys(known, _upgraded(values), "card")
    values["quality"] = tuple(map(_quality_row, *_rows(values["quality"], "quality")))
    if values["teacher"] is not None:
        teacher = _of(TeacherLoss, values["teacher"], "teacher")
        rows = zip(*_rows(teacher["rows"], "teacher.rows"), strict=True)
        teacher["rows"] = tuple(LossRow(**_of(LossRow, row, where)) for row, where in rows)
        values["teacher"] = TeacherLoss(**teacher)
    if values["golden"] is not None:
        golden = _of(Golden, values["golden"], "golden")
        values["golden"] = Golden(**_with_tuples(golden, "mean", "deviation"))
    if values["step"] is not None:
        values["step"] = StageStep(**_of(StageStep, values["step"], "step"))
    return _with_tuples(values, "recipe", "data")


def _upgraded(values: Any) -> Any:
    """Return a card of an older schema as one of this."""
    if not isinstance(values, dict) or "schema" not in values:
        return values
    schema = values["schema"]
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise CardError(schema_message(schema))
    if schema == 1:
        values = {**_ADDED, **values}
    if schema < 3 and isinstance(values.get("teacher"), dict):
        values = {**values, "teacher": _upgraded_teacher(values["teacher"], values.get("recipe"))}
    return {**values, "schema": SCHEMA}


def _upgraded_teacher(teacher: dict[str, Any], recipe: Any) -> dict[str, Any]:
    """Return a loss that schema 2 kept of one data set."""
    row = {key: value for key, value in teacher.items() if key not in ("name", "sha256")}
    kept = {key: value for key, value in teacher.items() if key in ("name", "sha256")}
    lines = recipe if isinstance(recipe, list) else []
    taught = learned_from(map(str, lines), str(teacher.get("sha256")))
    return {**kept, "taught": taught, "rows": [{**row, "fidelity_db": None}]}


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = list(rows[0]) if rows else []
    return {"columns": columns, "rows": [list(row.values()) for row in rows]}


def _rows(values: Any, where: str) -> tuple[list[Any], list[str]]:
    """Return rows and what to call each of them in errors."""
    if isinstance(values, dict):
        table = _exact_keys(["columns", "rows"], values, where)
        columns, values = table["columns"], table["rows"]
        fits = isinstance(columns, list) and isinstance(values, list)
        if not fits or not all(
            isinstance(row, list) and len(row) == len(columns) for row in values
        ):
            raise CardError(f"{where}: columns and rows must be lists of one width, got {table!r}")
        values = [dict(zip(map(str, columns), row, strict=True)) for row in values]
    if not isinstance(values, list):
        raise CardError(f"{where} must be a list or a table, got {values!r}")
    return values, [f"{where}[{number}]" for number in range(len(values))]


def _quality_row(values: Any, where: str) -> QualityRow:
    values = _of(QualityRow, values, where)
    for key in ("input_psnr", "psnr"):
        if values[key] is None:
            values[key] = math.inf
    return QualityRow(**values)


def _with_tuples(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    lists = {key: tuple(values[key]) for key in keys if isinstance(values[key], list)}
    return {**values, **lists}


def _of(kind: type, values: Any, where: str) -> dict[str, Any]:
    return _exact_keys([field.name for field in dataclasses.fields(kind)], values, where)


def _exact_keys(known: list[str], values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise CardError(f"{where} must be an object, got {values!r}")
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise CardError(f"{where}: unknown key {key!r}; {hint}")
    for key in known:
        if key not in values:
            raise CardError(f"{where}: key {key!r} is missing; export the artifact again")
    return dict(values)
