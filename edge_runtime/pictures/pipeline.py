"""Run items through several steps at once, each step with threads of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

_WAITING = 1
"""Finished items that may wait before each step, beside those that its threads work on."""


@dataclass(frozen=True)
class Step:
    """A function of one argument, and how many threads may be in it at once."""

    function: Callable[[Any], Any]
    workers: int = 1


def run_pipeline(
    items: Iterable[Any], steps: Sequence[Step], stop: threading.Event
) -> Generator[Any, None, None]:
    """Yield each item after all steps, in the order of ``items``, while later ones are under way.

    The number of items between the first step and the consumer is bounded by the workers, and one
    more a step. What a step raises is raised where its item would have come. Closing the
    iterator sets ``stop``, starts no further step, and waits for those that run.
    """
    most = sum(step.workers + _WAITING for step in steps)
    under_way: deque[Future[Any]] = deque()
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(step.workers)) for step in steps]
        try:
            for item in items:
                under_way.append(_submit(item, steps, pools))
                if len(under_way) >= most:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            stop.set()
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)


def _submit(item: Any, steps: Sequence[Step], pools: Sequence[ThreadPoolExecutor]) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(item)
    for step, pool in zip(steps, pools, strict=True):
        future = pool.submit(_apply, step.function, future)
    return future


def _apply(function: Callable[[Any], Any], before: Future[Any]) -> Any:
    return function(before.result())
