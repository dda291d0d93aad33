"""What a picture file says about itself: its size before decoding, orientation, colour profile."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ORIENTATION_TAG = 0x0112
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels as the header of an encoded picture declares them.

    Reads JPEG, PNG, WebP, BMP and TIFF headers; None for anything else or a header cut short.
    """
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data[:2] == b"BM":
            width, height = struct.unpack_from("<ii", data, 18)
            return abs(width), abs(height)
        if data[:4] in (b"II*\0", b"MM\0*"):
            entries = _tiff_entries(data)
            return entries[256][1], entries[257][1]
    except (struct.error, KeyError):
        pass
    return None


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, that an EXIF block (a TIFF structure) asks for, or 1."""
    entry = _orientation_entry(exif)
    return entry[1] if entry is not None and 1 <= entry[1] <= 8 else 1


def upright_exif(exif: bytes) -> bytes:
    """Return the EXIF block with its orientation set to 1, for pixels that have been turned."""
    entry = _orientation_entry(exif)
    if entry is None:
        return exif
    offset = entry[0]
    one = struct.pack(_byte_order(exif) + "H", 1)
    return exif[:offset] + one + exif[offset + 2 :]


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn or mirror pixels (HW or HWC) as an EXIF orientation of 1 to 8 asks (CIPA DC-008)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def profile_fits(icc: bytes, grey: bool) -> bool:
    """Tell whether an ICC profile describes RGB (or grey) pixels.

    A CMYK file is decoded to RGB, and its profile would then be wrong.
    """
    return icc[16:20] == (b"GRAY" if grey else b"RGB ")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        # A segment counts its own two length bytes; a marker may be padded with any number of FF.
        at += 1 if marker == 0xFF else 2 + length


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _orientation_entry(exif: bytes) -> tuple[int, int] | None:
    try:
        return _tiff_entries(exif).get(_ORIENTATION_TAG)
    except struct.error:
        return None


def _byte_order(data: bytes) -> str:
    return ">" if data[:2] == b"MM" else "<"


def _tiff_entries(data: bytes) -> dict[int, tuple[int, int]]:
    """Map each tag of the first directory to (offset of its value, its value as an integer)."""
    order = _byte_order(data)
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    entries = {}
    for index in range(count):
        at = directory + 2 + 12 * index
        tag, kind = struct.unpack_from(order + "HH", data, at)
        (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
        entries[tag] = (at + 8, value)
    return entries
