"""Prefetching: an iterable that runs ahead of its consumer in a thread, so that the two overlap."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

Item = TypeVar("Item")

_PATIENCE = 0.1
"""Seconds after which a thread that waits looks whether anybody still wants what it waits for."""


@contextlib.contextmanager
def ahead(
    items: Iterable[Item], depth: int = 2, stop: Callable[[], object] | None = None
) -> Iterator[Iterator[Item]]:
    """Give an iterator over ``items`` that a thread keeps up to ``depth`` items ahead.

        >>> with ahead(read_frames()) as frames, ahead(map(derain, frames)) as derained:
        ...     for frame in derained:
        ...         write(frame)

    Memory holds at most ``depth`` waiting items, one in the making and one in use. Order is kept.
    What the iterable raises is raised where its item would have come. Leaving the block, in
    whatever way, calls ``stop``, which may cut that short, stops the thread after the item that it
    is making, and waits for that.
    """
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(depth)
    left = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, waiting, left), daemon=True)
    try:
        thread.start()
        yield _consume(waiting)
    finally:
        if stop is not None:
            stop()
        left.set()
        if thread.ident is None:  # interrupted as it starts, which takes moments
            time.sleep(_PATIENCE)
        if thread.ident is not None:
            thread.join()


def _produce(
    items: Iterable[Item],
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]],
    left: threading.Event,
) -> None:
    def put(is_item: bool, value: Item | BaseException | None) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put((is_item, value), timeout=_PATIENCE)
                return True
        return False

    iterator = iter(items)
    try:
        for item in iterator:
            if not put(True, item):
                return
        put(False, None)
    except BaseException as error:  # handed to the consumer, whatever it is
        put(False, error)
    finally:
        close = cast("Callable[[], None] | None", getattr(iterator, "close", None))
        if close is not None:
            close()


def _consume(
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]],
) -> Iterator[Item]:
    while True:
        try:  # with a limit, because a wait without one may sleep through Ctrl-C
            is_item, value = waiting.get(timeout=_PATIENCE)
        except queue.Empty:
            continue
        if is_item:
            yield cast("Item", value)
        elif value is None:
            return
        else:
            raise cast("BaseException", value)
