"""Conditions such as ``loss_db > 0.5`` that make a report fail, for continuous integration."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.report.results import REFERENCE, Entry
from core.config import nearest
from edge_runtime.errors import UsageError

Field = Callable[[Entry, str], float | None]
"""Takes an artifact and the column of quality that the report is about."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_OF_REFERENCE = ("fidelity_db", "worst_loss_db")
_CONDITION = re.compile(
    r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*", re.IGNORECASE
)


def _of_column(name: str) -> Field:
    def value(entry: Entry, column: str) -> float | None:
        scored = entry.columns.get(column)
        return None if scored is None else getattr(scored, name)

    return value


def _of_card(name: str) -> Field:
    return lambda entry, column: float(getattr(entry.card, name) or 0)


def _of_reference(read: Callable[[Entry], float | None]) -> Field:
    return lambda entry, column: read(entry)


def _fidelity(entry: Entry) -> float | None:
    overall = entry.overall("rgb")
    return overall.fidelity_db if overall else None


def _worst_loss(entry: Entry) -> float | None:
    overall = entry.overall("rgb")
    return overall.spread.most if overall else None


def _most(read: Callable[[Entry], list[float]]) -> Field:
    """Take the worst of all devices."""
    return lambda entry, column: max(read(entry), default=None)


FIELDS: dict[str, Field] = {
    "loss_db": _of_column("loss_db"),
    "ssim_loss": _of_column("ssim_loss"),
    "psnr": _of_column("psnr"),
    "ssim": _of_column("ssim"),
    "fidelity_db": _of_reference(_fidelity),
    "worst_loss_db": _of_reference(_worst_loss),
    "bytes": _of_card("bytes"),
    "parameters": _of_card("parameters"),
    "macs_per_pixel": _of_card("macs_per_pixel"),
    "ms": _most(lambda entry: [m.report.latency.median_ms for m in entry.measured]),
    "p95_ms": _most(lambda entry: [m.report.latency.p95_ms for m in entry.measured]),
    "peak_mb": _most(lambda entry: [m.report.peak_bytes / 10**6 for m in entry.measured]),
}
"""What conditions may be about. The first four are of the column of quality of the report."""


@dataclass(frozen=True)
class Verdict:
    """What came of a condition.

    Attributes:
        title: The condition, and the quality that it is about, such as ``psnr < 25 on val/rgb``.
        violations: The artifacts for which it is true, one line each.
        unknown: Those of which the value is not known, likewise: they have not passed.
    """

    title: str
    violations: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """What keeps a report from passing; empty where it does."""
        return self.violations + self.unknown


@dataclass(frozen=True)
class Condition:
    """A parsed condition; an artifact for which it is true fails."""

    text: str
    field: str
    comparison: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read ``FIELD COMPARISON NUMBER``.

        Raises:
            UsageError: It is not of that form, or the field is unknown; names those that are.
        """
        match = _CONDITION.fullmatch(text)
        if not match:
            raise UsageError(
                f"--fail-if {text!r}: must be FIELD COMPARISON NUMBER, such as 'loss_db > 0.5'"
            )
        field, comparison, number = match[1], match[2], float(match[3])
        if field not in FIELDS:
            hint = nearest(field, FIELDS)
            known = ", ".join(FIELDS)
            hint = hint if hint.endswith(known) else f"{hint} Fields: {known}"
            raise UsageError(f"--fail-if {text!r}: unknown field {field!r}; {hint}")
        if not math.isfinite(number):
            raise UsageError(f"--fail-if {text!r}: {match[3]} is too large; write a finite number")
        return cls(text.strip(), field, comparison, number)

    def judge(self, entries: Sequence[Entry], column: str) -> Verdict:
        """Apply it to artifacts, of whose quality ``DATASET/PROTOCOL`` counts."""
        of_column, of_reference = list(FIELDS)[:4], _OF_REFERENCE
        place = column if self.field in of_column else f"{REFERENCE}/rgb"
        named = self.field in (*of_column, *of_reference)
        violations, unknown = list[str](), list[str]()
        for entry in entries:
            value = FIELDS[self.field](entry, column)
            if value is None:
                unknown.append(f"{entry.file}: {self.field} is not known")
            elif _COMPARISONS[self.comparison](value, self.number):
                violations.append(f"{entry.file}: {self.field} is {value:.6g}")
        title = f"{self.text} on {place}" if named else self.text
        return Verdict(title, tuple(violations), tuple(unknown))
