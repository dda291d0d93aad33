"""How long a run has taken, and how much of that it waited for data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Counts from its making.

    Args:
        seconds: what was counted before.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._started = monotonic()
        self._before = seconds
        self._waited = 0.0
        self._lap = (self._started, 0.0)

    @property
    def seconds(self) -> float:
        """Seconds in all, with those counted before."""
        return self._before + monotonic() - self._started

    @property
    def waiting(self) -> float:
        """Share of the time since its making that was spent in :meth:`waits`, 0 to 1."""
        return _share(self._waited, monotonic() - self._started)

    def lap(self) -> float:
        """Return :attr:`waiting` of the time since the last call alone."""
        (start, waited), now = self._lap, monotonic()
        self._lap = (now, self._waited)
        return _share(self._waited - waited, now - start)

    def waits(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``, counting how long each of them takes to come."""
        waiting = iter(items)
        while True:
            start = monotonic()
            try:
                item = next(waiting)
            except StopIteration:
                return
            self._waited += monotonic() - start
            yield item


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
