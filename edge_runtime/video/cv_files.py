"""Videos by way of OpenCV, where PyAV is not installed: no sound, and a constant frame rate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from edge_runtime.errors import VideoError
from edge_runtime.video.frames import Frame, VideoInfo, check_size, even, from_bgr

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".webm": "VP80"}
"""The writable suffixes, with OpenCV's names of the codecs."""

_DEFAULT_RATE = Fraction(25)
_CLOCK = Fraction(1, 90_000)


class CvReader:
    """A video file, opened; see ``frames.Reader``. OpenCV turns the frames upright.

    Raises:
        VideoError: The file cannot be opened, or has no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.damaged = 0
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        self._first: Any = None
        done = self._capture.isOpened()
        if done:
            done, self._first = self._capture.read()
        if not done:
            self.close()
            raise VideoError(f"{path}: not a video that OpenCV can read; it is damaged or no video")
        height, width = self._first.shape[:2]
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate = Fraction(rate).limit_denominator(1001) if rate > 0 else _DEFAULT_RATE
        self.info = VideoInfo(
            width, height, self._rate, _CLOCK, frames=count if count > 0 else None
        )

    def __iter__(self) -> Iterator[Frame]:
        done, bgr = True, self._first
        time = Fraction(-1)
        while done:
            stamp = Fraction(round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 90), 90_000)
            # OpenCV says 0 for every frame of streams without time stamps.
            time = stamp if stamp > time else time + 1 / self._rate
            yield Frame(from_bgr(bgr), time, 1 / self._rate)
            done, bgr = self._capture.read()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class CvWriter:
    """A video file in the making; see ``frames.Writer``.

    A frame is repeated or left out where that is needed to keep its time at a constant rate.

    Args:
        path: Where to write; its suffix is ignored.
        suffix: One of ``CODECS``, which chooses the container.
        info: Of what will be written.

    Raises:
        VideoError: OpenCV cannot write such a file here.
    """

    def __init__(self, path: Path, suffix: str, info: VideoInfo) -> None:
        self._info = info
        self._start: Fraction | None = None
        self._written = 0
        self._last: Any = None
        # OpenCV chooses the container by the suffix.
        self._path, self._named = path, path.with_name(path.name + suffix)
        size = (info.width + info.width % 2, info.height + info.height % 2)
        code = cv2.VideoWriter.fourcc(*CODECS[suffix])
        self._writer = cv2.VideoWriter(
            str(self._named), cv2.CAP_FFMPEG, code, float(info.rate), size
        )
        if not self._writer.isOpened():
            self.close(finish=False)
            raise VideoError(
                f"OpenCV cannot write {suffix} here; choose another place, or run: "
                "pip install 'edge-derain[video]'"
            )

    def write(self, item: Frame) -> None:
        """Append a frame; see ``frames.Writer``."""
        check_size(item, self._info)
        if self._start is None:
            self._start = item.time
        self._fill(round((item.time - self._start) * self._info.rate))
        self._last = cv2.cvtColor(even(item.rgb), cv2.COLOR_RGB2BGR)

    def _fill(self, count: int) -> None:
        """Show the last frame until there are ``count`` frames."""
        while self._last is not None and self._written < count:
            self._writer.write(self._last)
            self._written += 1

    def close(self, *, finish: bool) -> None:
        """End the file; see ``frames.Writer``."""
        if finish:
            self._fill(self._written + 1)
        self._writer.release()
        if not finish:
            with contextlib.suppress(OSError):
                self._named.unlink()
            return
        try:
            self._named.replace(self._path)
        except OSError as error:
            raise VideoError(
                f"the video cannot be written ({error.strerror}); choose another place"
            ) from None
