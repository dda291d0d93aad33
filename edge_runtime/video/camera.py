"""Frames of a camera or network stream as they arrive, reconnecting when it breaks off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Protocol

import cv2

from edge_runtime.errors import SourceLostError, VideoError
from edge_runtime.video.frames import Frame, VideoInfo, from_bgr

ATTEMPTS = 10
"""How often in a row a lost source is opened again before it is given up."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first new attempt, and at most: each delay is twice the one before."""

_CLOCK = Fraction(1, 90_000)
_DEFAULT_RATE = Fraction(30)
_OPEN_MILLISECONDS, _READ_MILLISECONDS = 10_000, 10_000


class Capture(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def read(self) -> tuple[bool, Any]: ...
    def get(self, prop: int, /) -> float: ...
    def release(self) -> None: ...


class Camera:
    """A camera by number, or a stream by address, opened.

    Iterating yields ``Frame`` as they arrive, timed in seconds since the camera was opened. When
    no more come, a source without an end is opened again after a growing delay; a file behind an
    address ends where its frames do.

    Args:
        source: ``'0'`` for the first camera, or an address such as ``'rtsp://host/path'``.
        opener: Opens the source; for tests.
        clock: Gives seconds that only grow; for tests.

    Attributes:
        info: What is the same for all frames. ``rate`` is what the source says of itself.
        reconnects: How often the source was opened again so far.

    Raises:
        VideoError: It cannot be opened, or gives no frame.
        SourceLostError: From iterating: it broke off and did not come back.
    """

    def __init__(
        self,
        source: str,
        *,
        opener: Callable[[str], Capture] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name = f"camera {source}" if source.isdecimal() else source
        self._source = source
        self._opener = opener or _open
        self._clock = clock
        self._closed = threading.Event()
        self.reconnects = 0
        self._capture = self._opener(source)
        self._start = clock()
        self._first = _first_frame(self._capture)
        if self._first is None:
            self._capture.release()
            raise VideoError(f"{self._name}: gives no picture; check that it is on and not in use")
        height, width = self._first.shape[:2]
        rate = Fraction(self._capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)
        self._ends = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        self.info = VideoInfo(width, height, rate if 0 < rate <= 1000 else _DEFAULT_RATE, _CLOCK)

    def __iter__(self) -> Iterator[Frame]:
        bgr: Any = self._first
        try:
            while bgr is not None and not self._closed.is_set():
                ticks = round((self._clock() - self._start) / _CLOCK)
                yield Frame(from_bgr(bgr), ticks * _CLOCK)
                done, bgr = self._capture.read()
                if not done:
                    bgr = None if self._ends else self._again()
        finally:
            self._capture.release()

    def seconds(self) -> float:
        """Return the time now on the clock of the frames."""
        return self._clock() - self._start

    def close(self) -> None:
        """Let iteration end after the read that is under way, and wait no more to reconnect."""
        self._closed.set()

    def _again(self) -> Any:
        """Return the first frame after a new connection, or None when closed meanwhile."""
        delay = FIRST_DELAY
        for _ in range(ATTEMPTS):
            self._capture.release()
            if self._closed.wait(delay):
                return None
            delay = min(2 * delay, LONGEST_DELAY)
            self._capture = self._opener(self._source)
            bgr = _first_frame(self._capture)
            if bgr is not None:
                self.reconnects += 1
                return bgr
        raise SourceLostError(
            f"{self._name}: broke off and did not come back in {ATTEMPTS} attempts"
        )


def _first_frame(capture: Capture) -> Any:
    """Return a frame of a source that may not have opened, or None."""
    return capture.read()[1] if capture.isOpened() else None


def _open(source: str) -> Capture:
    if source.isdecimal():
        capture = cv2.VideoCapture(int(source))
        # One waiting frame instead of several: they would only be old.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    limits = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MILLISECONDS),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MILLISECONDS),
    ]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
