"""Cameras and network streams: frames as they arrive, of which only the newest one counts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Generic, TypeVar

from edge_runtime.errors import SourceLostError, VideoError
from edge_runtime.video.frames import Frame, VideoInfo
from edge_runtime.video.reader import AvReader

ATTEMPTS = 10
"""How often in a row a lost source is opened again before it is given up."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first new attempt, and at most: each delay is twice the one before."""

_CLOCK = Fraction(1, 90_000)
_DEFAULT_RATE = Fraction(30)
_DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
"""By platform: FFmpeg's name of cameras, and how one is called by its number."""
_JOIN_SECONDS = 1.0
"""How long leaving waits for a source that is stuck in a read; its thread dies with the process."""

Item = TypeVar("Item")


class Camera:
    """A camera by number, or a stream by address, opened.

    Iterating yields ``Frame`` as they arrive, timed in seconds since the camera was opened. When
    no more come, a source without an end is opened again after a growing delay; a file behind an
    address ends where its frames do.

    Args:
        source: ``'0'`` for the first camera, or an address such as ``'rtsp://host/path'``.
        opener: Opens the source; for tests.
        clock: Gives seconds that only grow; for tests.
        sleep: Waits up to so many seconds, and says whether the camera was closed meanwhile; for
            tests.

    Attributes:
        info: What is the same for all frames. ``rate`` is what the source says of itself.
        reconnects: How often the source was opened again so far.

    Raises:
        VideoError: It cannot be opened, or gives no frame.
        MissingExtraError: PyAV is not installed.
        SourceLostError: From iterating: it broke off and did not come back.
    """

    def __init__(
        self,
        source: str,
        *,
        opener: Callable[[str], AvReader] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], bool] | None = None,
    ) -> None:
        self._name = f"camera {source}" if source.isdecimal() else source
        self._source = source
        self._opener = opener or open_live
        self._clock = clock
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self.reconnects = 0
        try:
            self._reader = self._opener(source)
        except VideoError:
            raise VideoError(
                f"{self._name}: gives no picture; check that it is on and not in use"
            ) from None
        self._start = clock()
        found = self._reader.info
        self._ends = found.frames is not None
        rate = found.rate if 0 < found.rate <= 1000 else _DEFAULT_RATE
        self.info = VideoInfo(found.width, found.height, rate, _CLOCK)

    def __iter__(self) -> Iterator[Frame]:
        try:
            while True:
                for frame in self._frames():
                    if self._closed.is_set():
                        return
                    ticks = round((self._clock() - self._start) / _CLOCK)
                    yield Frame(frame.rgb, ticks * _CLOCK)
                if self._ends or not self._again():
                    return
        finally:
            self._reader.close()

    def _frames(self) -> Iterator[Frame]:
        """Yield frames until the source gives no more, for whatever reason."""
        items = iter(self._reader)
        while True:
            try:
                item = next(items, None)
            except VideoError:
                return
            if item is None:
                return
            yield item

    def seconds(self) -> float:
        """Return the time now on the clock of the frames."""
        return self._clock() - self._start

    def close(self) -> None:
        """Let iteration end after the read that is under way, and wait no more to reconnect."""
        self._closed.set()

    def _again(self) -> bool:
        """Open the source again and return True, or False when closed meanwhile."""
        delay = FIRST_DELAY
        for _ in range(ATTEMPTS):
            self._reader.close()
            if self._sleep(delay):
                return False
            delay = min(2 * delay, LONGEST_DELAY)
            try:
                self._reader = self._opener(self._source)
            except VideoError:
                continue
            self.reconnects += 1
            return True
        raise SourceLostError(
            f"{self._name}: broke off and did not come back in {ATTEMPTS} attempts"
        )


def open_live(source: str) -> AvReader:
    """Open a camera by its number, or a stream by its address, as ``Camera`` does.

    Raises:
        VideoError: It cannot be opened, or gives no frame.
        MissingExtraError: PyAV is not installed.
    """
    if not source.isdecimal():
        tcp = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
        return AvReader(source, live=True, options=tcp)
    if sys.platform not in _DEVICES:
        raise VideoError(f"camera {source}: this system has no cameras by number")
    device, name = _DEVICES[sys.platform]
    return AvReader(name.format(source), device=device, live=True)


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
