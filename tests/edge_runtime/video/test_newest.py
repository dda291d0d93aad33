import threading
import time
from collections.abc import Iterator

import pytest

from edge_runtime.video.newest import Newest


def test_a_slow_consumer_gets_the_newest_and_the_last() -> None:
    taken, sent = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 0
        taken.wait()
        yield from range(1, 10)
        sent.set()

    seen = []
    with Newest(source()) as items:
        for item in items:
            seen.append(item)
            taken.set()
            sent.wait()
    assert seen == [0, 9]
    assert items.dropped == 8


def test_a_fast_consumer_gets_all() -> None:
    turn = threading.Semaphore(1)

    def source() -> Iterator[int]:
        for item in range(20):
            turn.acquire()
            yield item

    seen = []
    with Newest(source()) as items:
        for item in items:
            seen.append(item)
            turn.release()
    assert seen == list(range(20))
    assert items.dropped == 0


def test_an_error_comes_after_the_last_item() -> None:
    def source() -> Iterator[int]:
        yield 7
        raise OSError("gone")

    with Newest(source()) as items:
        iterator = iter(items)
        assert next(iterator) == 7
        with pytest.raises(OSError, match="gone"):
            next(iterator)


def test_leaving_frees_who_waits_for_an_item() -> None:
    stuck = threading.Event()

    def source() -> Iterator[int]:
        stuck.wait()
        yield 0

    seen: list[int] = []
    newest = Newest(source())
    waiting = threading.Thread(target=lambda: seen.extend(newest))
    waiting.start()
    start = time.perf_counter()
    with newest:
        pass
    waiting.join(5)
    assert not waiting.is_alive()
    assert time.perf_counter() - start < 5
    assert seen == []
    stuck.set()
