from collections.abc import Callable
from itertools import count
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SourceLostError, VideoError
from edge_runtime.video import camera
from edge_runtime.video.camera import Camera


class _Capture:
    """A synthetic camera: gives frames whose blue is their number, then nothing more."""

    def __init__(self, frames: int, total: float = -1.0, rate: float = 15.0) -> None:
        self.left = frames
        self.opened = frames > 0
        self.released = False
        self._values = {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: total}

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def read(self) -> tuple[bool, Any]:
        if not self.left:
            return False, None
        self.left -= 1
        return True, np.full((4, 6, 3), (self.left, 0, 200), np.uint8)

    def get(self, prop: int, /) -> float:
        return self._values[prop]

    def release(self) -> None:
        self.released = True


def _opener(*captures: _Capture) -> Callable[[str], _Capture]:
    waiting = list(captures)
    return lambda source: waiting.pop(0) if waiting else _Capture(0)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make waiting take no time, and return the list of what was waited."""
    waited: list[float] = []

    class Event:
        done = False

        def is_set(self) -> bool:
            return self.done

        def set(self) -> None:
            self.done = True

        def wait(self, seconds: float) -> bool:
            waited.append(seconds)
            return self.done

    monkeypatch.setattr(camera.threading, "Event", Event)
    return waited


def test_frames_in_rgb_at_the_time_they_arrive() -> None:
    clock = count(100)
    source = Camera("0", opener=_opener(_Capture(3, total=3)), clock=lambda: next(clock))
    frames = list(source)
    assert (source.info.width, source.info.height, source.info.rate) == (6, 4, 15)
    assert [frame.rgb[0, 0].tolist() for frame in frames] == [[200, 0, left] for left in (2, 1, 0)]
    assert [frame.time for frame in frames] == [1, 2, 3]
    assert source.seconds() == 4


@pytest.mark.parametrize("rate", [0.0, 90_000.0, -1.0])
def test_a_rate_that_cannot_be_true_is_not_believed(rate: float) -> None:
    assert Camera("0", opener=_opener(_Capture(1, rate=rate))).info.rate == 30


def test_a_stream_is_opened_again_after_growing_delays(delays: list[float]) -> None:
    first, second = _Capture(2), _Capture(2)
    source = Camera("rtsp://x", opener=_opener(first, *[_Capture(0)] * 7, second))
    frames = iter(source)
    assert [next(frames).rgb[0, 0, 2] for _ in range(4)] == [1, 0, 1, 0]
    with pytest.raises(SourceLostError, match=r"rtsp://x: broke off .* 10 attempts"):
        next(frames)
    assert delays[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert delays[8:] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert source.reconnects == 1
    assert first.released
    assert second.released


def test_a_file_behind_an_address_ends(delays: list[float]) -> None:
    assert len(list(Camera("http://x/a.mp4", opener=_opener(_Capture(5, total=5))))) == 5
    assert delays == []


def test_closing_ends_the_wait_to_reconnect(delays: list[float]) -> None:
    capture = _Capture(1)
    source = Camera("rtsp://x", opener=_opener(capture))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []
    assert len(delays) == 1
    assert capture.released


def test_nothing_to_open() -> None:
    with pytest.raises(VideoError, match="camera 7: gives no picture; check"):
        Camera("7", opener=_opener())
