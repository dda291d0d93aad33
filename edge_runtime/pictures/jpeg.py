"""What a JPEG file says about how it was written: quality and resolution."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# The luma table of ITU-T T.81, K.1, in zigzag order, which libjpeg scales by the quality.
_LUMA = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
_START_OF_SCAN = 0xDA
_QUANTIZATION = 0xDB
_SIZE = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) of the segments before the pixels of a JPEG file.

    Ends where the file is cut short.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xFF:  # a marker may be padded with any number of FF
            at += 1
            continue
        if marker == _START_OF_SCAN:
            return
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels as the header declares them, or None where it does not."""
    for marker, content in segments(data):
        if marker in _SIZE and len(content) >= 5:
            height, width = struct.unpack_from(">HH", content, 1)
            return width, height
    return None


def jpeg_quality(data: bytes) -> int | None:
    """Estimate the quality, 1 to 100, that a JPEG file was written with.

    It is the libjpeg quality whose luma quantization table is nearest to that of the file: exact
    for files of libjpeg, and the same loss for those of cameras. None without a table.
    """
    for marker, content in segments(data):
        at = 0
        while marker == _QUANTIZATION and at < len(content):
            deep, number = content[at] >> 4, content[at] & 15
            table = np.frombuffer(
                content[at + 1 : at + 65 + 64 * bool(deep)], ">u2" if deep else "u1"
            )
            if number == 0 and table.size == 64:
                errors = np.abs(_tables() - table.astype(np.int64)).sum(axis=1)
                return int(errors.argmin()) + 1
            at += 65 + 64 * bool(deep)
    return None


def jpeg_density(data: bytes) -> tuple[float, float] | None:
    """Return the pixels an inch, (x, y), of the JFIF header, or None where it says none."""
    for marker, content in segments(data):
        if marker == 0xE0 and content[:5] == b"JFIF\0" and len(content) >= 12:
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            scale = {1: 1.0, 2: 2.54}.get(unit)
            return None if scale is None or not (x and y) else (x * scale, y * scale)
    return None


@functools.cache
def _tables() -> NDArray[np.int64]:
    """Return the 64 luma steps of each quality from 1 to 100 as libjpeg scales them: 100 x 64."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    steps = (np.array(_LUMA, np.int64) * scale + 50) // 100
    return np.clip(steps, 1, 255)
