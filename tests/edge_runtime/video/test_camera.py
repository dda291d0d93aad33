import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count

import numpy as np
import pytest

from edge_runtime.errors import SourceLostError, VideoError
from edge_runtime.video.camera import Camera, Newest, open_live
from edge_runtime.video.frames import Frame, VideoInfo


class _Reader:
    """A synthetic camera: gives frames whose red is how many are left, then breaks off."""

    damaged = 0

    def __init__(
        self, frames: int, total: int | None = None, rate: float = 15.0, error: bool = False
    ) -> None:
        self.left = frames
        self.error = error
        self.closed = False
        self.info = VideoInfo(6, 4, Fraction(rate), Fraction(1, 1000), total)

    def __iter__(self) -> Iterator[Frame]:
        while self.left:
            self.left -= 1
            yield Frame(np.full((4, 6, 3), (self.left, 0, 200), np.uint8), Fraction(0))
        if self.error:
            raise VideoError("broken")

    def close(self) -> None:
        self.closed = True


def _opener(*readers: _Reader | None) -> Callable[[str], _Reader]:
    waiting = list(readers)

    def open_it(source: str) -> _Reader:
        reader = waiting.pop(0) if waiting else None
        if reader is None:
            raise VideoError("nothing there")
        return reader

    return open_it


def test_frames_at_the_time_they_arrive() -> None:
    clock = count(100)
    source = Camera("0", opener=_opener(_Reader(3, total=3)), clock=lambda: next(clock))
    frames = list(source)
    assert (source.info.width, source.info.height, source.info.rate) == (6, 4, 15)
    assert [frame.rgb[0, 0].tolist() for frame in frames] == [[left, 0, 200] for left in (2, 1, 0)]
    assert [frame.time for frame in frames] == [1, 2, 3]
    assert source.seconds() == 4


@pytest.mark.parametrize("rate", [0.0, 90_000.0, -1.0])
def test_a_rate_that_cannot_be_true_is_not_believed(rate: float) -> None:
    assert Camera("0", opener=_opener(_Reader(1, rate=rate))).info.rate == 30


def test_a_stream_is_opened_again_after_growing_delays() -> None:
    first, second = _Reader(2), _Reader(2, error=True)
    delays: list[float] = []
    source = Camera(
        "rtsp://x",
        opener=_opener(first, *[None] * 7, second),
        sleep=lambda seconds: bool(delays.append(seconds)),
    )
    frames = iter(source)
    assert [next(frames).rgb[0, 0, 0] for _ in range(4)] == [1, 0, 1, 0]
    with pytest.raises(SourceLostError, match=r"rtsp://x: broke off .* 10 attempts"):
        next(frames)
    assert delays[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert delays[8:] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert source.reconnects == 1
    assert first.closed
    assert second.closed


def test_a_file_behind_an_address_ends() -> None:
    source = Camera("http://x/a.mp4", opener=_opener(_Reader(5, total=5)))
    assert len(list(source)) == 5
    assert source.reconnects == 0


def test_closing_ends_the_wait_to_reconnect() -> None:
    reader, waits = _Reader(1), []
    source = Camera("rtsp://x", opener=_opener(reader))
    frames = iter(source)
    next(frames)
    source.close()
    start = time.monotonic()
    assert list(frames) == waits
    assert time.monotonic() - start < 0.4
    assert reader.closed


def test_nothing_to_open() -> None:
    with pytest.raises(VideoError, match="camera 7: gives no picture; check"):
        Camera("7", opener=_opener())


def test_a_system_without_cameras_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(VideoError, match="camera 0: this system has no cameras by number"):
        open_live("0")


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
