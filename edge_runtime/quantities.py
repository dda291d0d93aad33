"""Amounts as people write them on a command line: ``300MB``, ``1.5`` seconds, ``2/8``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stages = int | Literal["auto"]
"""Passes of a recurrent network over a picture; ``'auto'``: until it no longer changes."""

SCALES = (1, 2, 4, 8, 16)
Scale = int | Literal["auto"]
"""Rain is looked for at 1 / N of the size, and at 2 / N; 1 looks at full size only, ``'auto'``
follows the size."""

_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]I?)?(?:B|P|PX)?", re.IGNORECASE)


def parse_amount(text: str) -> int:
    """Return ``'300MB'``, ``'1.5GiB'``, ``'200M'`` or ``'90000'`` as a whole number of at least 1.

    Raises:
        ValueError: It is none.
    """
    match = _AMOUNT.fullmatch(text.strip())
    amount = int(float(match[1]) * _FACTORS[(match[2] or "").upper()]) if match else 0
    if amount < 1:
        raise ValueError(f"must be an amount such as 300M, got {text!r}")
    return amount


def parse_seconds(text: str) -> float:
    """Return ``'90'`` or ``'0.5'`` as a number above 0.

    Raises:
        ValueError: It is none.
    """
    seconds = float(text) if re.fullmatch(r"\d+(\.\d+)?|\.\d+", text) else 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"must be a number of seconds above 0, got {text!r}")
    return seconds


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a function that reads a whole number from ``low`` to ``high``, and raises ValueError.

    None sets no upper limit.
    """

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else -1
        if number < low or (high is not None and number > high):
            limits = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise ValueError(f"must be a whole number {limits}, got {text!r}")
        return number

    return parse


def parse_stages(text: str) -> Stages:
    """Read ``'auto'`` or a whole number from 1.

    Raises:
        ValueError: It is neither.
    """
    if text == "auto":
        return "auto"
    try:
        return whole_number(1)(text)
    except ValueError:
        raise ValueError(f"must be a whole number of at least 1, or auto, got {text!r}") from None


def parse_scale(text: str) -> Scale:
    """Read ``'auto'`` or one of ``SCALES``.

    Raises:
        ValueError: It is neither.
    """
    if text == "auto":
        return "auto"
    if text not in map(str, SCALES):
        raise ValueError(f"must be {', '.join(map(str, SCALES))} or auto, got {text!r}")
    return int(text)


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a batch, counted from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``'I/N'``.

        Raises:
            ValueError: It is not of that form, or I is not from 1 to N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"must be I/N with I from 1 to N, such as 2/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))
