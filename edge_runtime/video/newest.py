"""Hand on only the newest item of a live source: better to drop frames than to lag behind."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_JOIN_SECONDS = 1.0
"""How long leaving waits for a source that is stuck in a read; its thread dies with the process."""


class Newest(Generic[Item]):
    """Context in which a thread exhausts ``items`` and iterating gives the newest one each time.

        >>> with Newest(camera) as frames:
        ...     for frame in frames:
        ...         slow(frame)

    An item that a newer one overtakes is dropped. Items keep their order, none comes twice, and
    the last one before the end always comes. What the source raises is raised after that.

    Args:
        items: The source. It is closed in the thread, if it can be, when the context is left.

    Attributes:
        dropped: How many items were overtaken so far.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.dropped = 0
        self._items = items
        self._slot: list[Item] = []
        self._changed = threading.Condition()
        self._left = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._exhaust, daemon=True)

    def __enter__(self) -> Newest[Item]:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._left = True
            self._changed.notify_all()
        self._thread.join(_JOIN_SECONDS)

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot or self._ended or self._left)
                if not self._slot or self._left:
                    break
                item = self._slot.pop()
            yield item
        if self._error is not None:
            raise self._error

    def _exhaust(self) -> None:
        iterator = iter(self._items)
        try:
            for item in iterator:
                with self._changed:
                    if self._left:
                        break
                    self.dropped += len(self._slot)
                    self._slot = [item]
                    self._changed.notify_all()
        except BaseException as error:  # handed to the consumer, whatever it is
            self._error = error
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
