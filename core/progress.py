"""Progress bars that move in a terminal and are seldom written to a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from typing_extensions import Never

T = TypeVar("T")
LOG_SECONDS = 30.0
"""Between two updates of a bar where nobody watches."""


def track(items: Iterable[T], title: str | None) -> Iterable[T]:
    """Yield ``items`` under a passing bar, shown only with a title."""
    seconds = 0.1 if sys.stderr.isatty() else LOG_SECONDS
    return tqdm(
        items,
        desc=title,
        unit="pair",
        leave=False,
        disable=title is None,
        delay=0 if sys.stderr.isatty() else seconds,
        mininterval=seconds,
        maxinterval=max(10.0, seconds),
    )


def above_bars(line: str) -> None:
    """Print a line to stdout, without breaking a bar on the same terminal."""
    if sys.stderr.isatty():
        tqdm.write(line)
    else:
        print(line, flush=True)


def step_bar(title: str, done: int, total: int, *, shown: bool) -> tqdm[Never]:
    """Make the bar of a long run."""
    seconds = 0.1 if sys.stderr.isatty() else LOG_SECONDS
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit="step",
        mininterval=seconds,
        maxinterval=max(10.0, seconds),
        disable=not shown,
    )
