import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.derainer import Derainer
from edge_runtime.errors import SourceLostError, VideoError
from edge_runtime.models.card import ModelCard
from edge_runtime.video.camera import Camera, Newest, open_live
from edge_runtime.video.derain import LiveSummary, derain_live
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


_RATE = 10
_INFO = VideoInfo(8, 8, Fraction(_RATE), Fraction(1, 1000))


class _Scene:
    """A synthetic camera, engine and screen that share one clock, which only they move on.

    A frame is due every tenth of a second, and the engine takes ``cost`` seconds for one. What is
    due while it works has arrived when it is done; while it has nothing to do, time jumps to the
    next frame.
    """

    name = provider = "scene"

    def __init__(self, frames: int, cost: float, error: BaseException | None = None) -> None:
        self.info, self.reconnects = _INFO, 0
        self.frames, self.cost, self.error = frames, cost, error
        self.now = 0.0
        self.shown: list[float] = []
        self.closed = False
        self._arrived = 0  # frames handed over
        self._done = 0  # one more than the last frame that was shown and timed
        self._moved = threading.Condition()

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.frames):
            with self._moved:
                self._moved.wait_for(lambda: self._is_due() or self.closed)
                if self.closed:
                    return
                self.now = max(self.now, number / _RATE)
            yield Frame(np.full((8, 8, 3), number, np.uint8), Fraction(number, _RATE))
            with self._moved:
                self._arrived = number + 1
                self._moved.notify_all()
        if self.error is not None:
            raise self.error

    def _is_due(self) -> bool:
        return self._done == self._arrived or self.now >= self._arrived / _RATE

    def run(self, batch: Any) -> Any:
        with self._moved:
            self.now += self.cost
            self._moved.notify_all()
            due = min(self.frames, int(self.now * _RATE) + 1)
            self._moved.wait_for(lambda: self._arrived >= due or self.closed)
        return batch

    def write(self, item: Frame) -> None:
        self.shown.append(float(item.time))

    def seconds(self) -> float:
        with self._moved:
            if self.shown:
                self._done = round(self.shown[-1] * _RATE) + 1
            self._moved.notify_all()
            return self.now

    def close(self) -> None:
        with self._moved:
            self.closed = True
            self._moved.notify_all()


class _Screen:
    def __init__(self, scene: _Scene) -> None:
        self.write = scene.write

    def close(self, *, finish: bool) -> None:
        raise AssertionError("the caller closes the writer")


def _run(card: ModelCard, scene: _Scene, **options: Any) -> LiveSummary:
    return derain_live(Derainer(scene, card, Path("m")), scene, _Screen(scene), **options)


def test_an_engine_that_keeps_up_drops_nothing(card: ModelCard) -> None:
    scene = _Scene(20, cost=0.02)
    summary = _run(card, scene)
    assert (summary.frames, summary.dropped) == (20, 0)
    assert scene.shown == [number / _RATE for number in range(20)]
    assert summary.p50_ms == pytest.approx(20, abs=1)
    assert summary.p95_ms == pytest.approx(20, abs=1)
    assert (summary.width, summary.height, summary.lost) == (8, 8, None)
    assert scene.closed


def test_percentiles_of_the_latency(card: ModelCard) -> None:
    scene = _Scene(20, cost=0.02)

    def slow_down() -> None:
        if len(scene.shown) == 15:
            scene.cost = 0.08

    summary = _run(card, scene, on_frame=slow_down)
    assert summary.p50_ms == pytest.approx(20, abs=1)
    assert summary.p95_ms == pytest.approx(80, abs=1)


def test_a_slow_engine_drops_frames_and_does_not_lag(card: ModelCard) -> None:
    scene = _Scene(100, cost=0.35)
    summary = _run(card, scene)
    assert summary.frames + summary.dropped == 100
    assert 20 <= summary.frames <= 40
    assert scene.shown == sorted(set(scene.shown))
    # A queue would lag by 25 seconds at the end. The newest frame waits for the one in work, is
    # worked on, and is written while the next one is.
    assert summary.p95_ms is not None
    assert summary.p95_ms < 3 * 350 + 100


def test_seconds_end_it(card: ModelCard) -> None:
    scene = _Scene(1000, cost=0.01)
    summary = _run(card, scene, seconds=2.0)
    assert summary.seconds == pytest.approx(2.0, abs=0.3)
    assert scene.closed


@pytest.mark.parametrize("ending", [None, "lost"])
def test_what_was_written_is_kept_when_the_source_breaks_off(
    card: ModelCard, ending: str | None
) -> None:
    error = SourceLostError(ending) if ending else None
    summary = _run(card, _Scene(5, cost=0.01, error=error))
    assert summary.frames == 5
    assert summary.lost == ending


def test_ctrl_c_ends_it_well(card: ModelCard) -> None:
    scene = _Scene(1000, cost=0.01)

    def interrupt() -> None:
        if len(scene.shown) == 3:
            raise KeyboardInterrupt

    summary = _run(card, scene, on_frame=interrupt)
    assert summary.frames == 3
    assert summary.lost is None
    assert scene.closed


def test_a_writer_that_fails_is_an_error(card: ModelCard) -> None:
    scene = _Scene(1000, cost=0.01)

    def fail(item: Frame) -> None:
        raise VideoError("disk full")

    scene.write = fail  # type: ignore[method-assign]
    with pytest.raises(VideoError, match="disk full"):
        _run(card, scene)
    assert scene.closed


def test_no_frame_has_no_latency(card: ModelCard) -> None:
    summary = _run(card, _Scene(0, cost=1))
    assert (summary.frames, summary.p50_ms, summary.p95_ms) == (0, None, None)


def test_steadied_frames(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("edge_runtime.steady.Steadier.__call__", lambda _, f: seen.append(f) or f)
    _run(card, _Scene(3, cost=0.01), steady=True)
    assert len(seen) == 3
