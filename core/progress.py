"""Progress bars that move in a terminal and are seldom written to a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from typing_extensions import Never

T = TypeVar("T")
LOG_SECONDS = 30.0
"""Between two updates of a bar where nobody watches."""


def track(items: Sequence[T], title: str | None, log_seconds: float = LOG_SECONDS) -> Iterable[T]:
    """Yield ``items`` under a passing bar, shown only with a title.

    Where nobody watches, one that takes longer is written every ``log_seconds``.
    """
    seconds, most = _intervals(log_seconds)
    return tqdm(
        items,
        desc=title,
        unit="pair",
        leave=False,
        disable=title is None,
        delay=0 if sys.stderr.isatty() else seconds,
        mininterval=seconds,
        maxinterval=most,
    )


def step_bar(title: str, done: int, total: int, *, shown: bool) -> tqdm[Never]:
    """Make the bar of a long run; where nobody watches, it is written every half minute."""
    seconds, most = _intervals(LOG_SECONDS)
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit="step",
        mininterval=seconds,
        maxinterval=most,
        disable=not shown,
    )


def _intervals(log_seconds: float) -> tuple[float, float]:
    """Return the seconds between two updates of a bar, and the most that tqdm may wait."""
    seconds = 0.1 if sys.stderr.isatty() else log_seconds
    return seconds, max(10.0, seconds)
