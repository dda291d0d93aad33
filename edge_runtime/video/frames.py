"""Video frames, and the interface of their writers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import VideoError

UNSPECIFIED = 2
"""The code point of ITU-T H.273 for a colour property that a file does not state."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        rgb: HWC uint8 RGB in 0..255, upright.
        time: When it is shown, in seconds on the clock of its source, which need not begin at 0.
        duration: How long, in seconds; 0 where the source does not say.
        alpha: HW uint8, 255 where opaque; None where all is.
    """

    rgb: NDArray[np.uint8]
    time: Fraction
    duration: Fraction = Fraction(0)
    alpha: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What is the same for all frames of a video.

    Attributes:
        width: Pixels, upright; ``height`` likewise.
        rate: Frames a second, on average where they vary.
        clock: The unit in which frames are timed, in seconds.
        frames: About how many there are; None where that is unknown, as in a live stream.
        pixel_aspect: Width of a pixel over its height, upright.
        colour: Matrix, primaries and transfer as code points of ITU-T H.273.
        alpha: Whether frames have alpha.
    """

    width: int
    height: int
    rate: Fraction
    clock: Fraction
    frames: int | None = None
    pixel_aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int] = (UNSPECIFIED, UNSPECIFIED, UNSPECIFIED)
    alpha: bool = False


class Writer(Protocol):
    """A video in the making."""

    @property
    def notes(self) -> Sequence[str]:
        """What it does not hold of its source so far, in words."""

    def write(self, item: Any) -> None:
        """Append a frame, or a packet of another track.

        Raises:
            VideoError: The frame has another size than the first, or writing failed.
        """

    def close(self, *, finish: bool) -> None:
        """End the file: complete with ``finish``, else in any state. More than once is allowed.

        Raises:
            VideoError: Writing the rest failed.
        """


def check_size(frame: Frame, info: VideoInfo) -> None:
    """Raise VideoError when ``frame`` has another size than ``info`` says."""
    height, width = frame.rgb.shape[:2]
    if (width, height) != (info.width, info.height):
        raise VideoError(
            f"the picture changes from {info.width} x {info.height} to {width} x {height} "
            f"at {float(frame.time):.2f} s; split the video there"
        )


def even(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels, HWC, extended to even height and width by repeating the last row and column.

    Encoders that store colour at half the size take no other.
    """
    height, width = rgb.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return rgb
    return np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
