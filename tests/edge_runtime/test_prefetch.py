import threading
from collections.abc import Iterator

import pytest

from edge_runtime.prefetch import ahead


def test_order_is_kept_through_two_threads() -> None:
    with ahead(range(100)) as first, ahead((2 * i for i in first), depth=1) as second:
        assert list(second) == list(range(0, 200, 2))


def test_never_more_than_depth_ahead() -> None:
    made = 0

    def count() -> Iterator[int]:
        nonlocal made
        while made < 50:
            made += 1
            yield made

    full = threading.Event()
    with ahead(count(), depth=3) as items:
        for item in items:
            full.wait(0.01)
            assert made <= item + 4  # three waiting, and one in the making


def test_an_error_comes_where_its_item_would() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    with ahead(fail()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="two"):
            next(items)


def test_leaving_early_ends_the_thread_and_closes_the_source() -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    before = threading.active_count()
    source = endless()  # held here, so that it is not closed by being forgotten
    with ahead(source) as items:
        next(items)
    assert closed == [True]
    assert threading.active_count() == before
