import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.derainer import Derainer
from edge_runtime.errors import SourceLostError, VideoError
from edge_runtime.models.card import ModelCard
from edge_runtime.video.derain import LiveSummary, derain_live
from edge_runtime.video.frames import Frame, VideoInfo

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
