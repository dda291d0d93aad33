"""Older schemas of model cards, as one of today has them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_ADDED: dict[str, Any] = {"io": "float32", "golden": None, "step": None}
"""What cards of schema 1 mean, which lack these fields; those before 4 lack ``pixels``."""


def learned_from(recipe: Iterable[str], sha256: str) -> bool:
    """Return whether a step of a recipe names the teacher with this hash."""
    return any(sha256 in line for line in recipe)


def upgraded(values: dict[str, Any], today: int) -> dict[str, Any]:
    """Return the JSON of a card of any schema, embedded or not, as one of ``today`` has it.

    Rows that stand as a table become objects, and a PSNR of null, which JSON has for infinite,
    becomes infinite. What is malformed stays as it is.
    """
    schema, teacher = values.get("schema"), values.get("teacher")
    if schema == 1:
        values = {**_ADDED, **values}
    if isinstance(teacher, dict):
        if schema in (1, 2):
            teacher = _with_rows(teacher, values.get("recipe"))
        if "rows" in teacher:
            teacher = {**teacher, "rows": _objects(teacher["rows"])}
        values = {**values, "teacher": teacher}
    if "quality" in values:
        quality = _objects(values["quality"])
        if isinstance(quality, list):
            quality = [_with_infinity(row) for row in quality]
        values = {**values, "quality": quality}
    return {**values, "schema": today}


def cards_upgraded(values: Any, today: int) -> Any:
    """Return the JSON of a record with all cards that are somewhere in it of schema ``today``."""
    if isinstance(values, list):
        return [cards_upgraded(item, today) for item in values]
    if not isinstance(values, dict):
        return values
    if {"schema", "architecture", "precision"} <= values.keys():
        return upgraded(values, today)
    return {key: cards_upgraded(item, today) for key, item in values.items()}


def _with_rows(teacher: dict[str, Any], recipe: Any) -> dict[str, Any]:
    """Return a loss that schema 2 kept of one data set."""
    row = {key: value for key, value in teacher.items() if key not in ("name", "sha256")}
    kept = {key: value for key, value in teacher.items() if key in ("name", "sha256")}
    lines = recipe if isinstance(recipe, list) else []
    taught = learned_from(map(str, lines), str(teacher.get("sha256")))
    return {**kept, "taught": taught, "rows": [{**row, "fidelity_db": None}]}


def _objects(rows: Any) -> Any:
    """Return rows that an artifact carries as ``{"columns": [...], "rows": [[...], ...]}``."""
    if not isinstance(rows, dict) or rows.keys() != {"columns", "rows"}:
        return rows
    columns, table = rows["columns"], rows["rows"]
    whole = isinstance(columns, list) and isinstance(table, list)
    if not whole or not all(isinstance(row, list) and len(row) == len(columns) for row in table):
        return rows
    return [dict(zip(map(str, columns), row, strict=True)) for row in table]


def _with_infinity(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    nulls = [key for key in ("input_psnr", "psnr") if key in row and row[key] is None]
    return {**row, **dict.fromkeys(nulls, math.inf)}
