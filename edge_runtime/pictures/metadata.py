"""What a picture file says about itself: format, size, quality, orientation, colour profile."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.pictures import tags
from edge_runtime.pictures.avif import is_avif, read_properties
from edge_runtime.pictures.jpeg import jpeg_quality, jpeg_size
from edge_runtime.pictures.png import SIGNATURE, chunks, png_size
from edge_runtime.pictures.tags import read_tags

_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}  # by TIFF type
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:>|=[\"']))[2-8]")


def picture_format(data: bytes) -> str | None:
    """Return the suffix that fits an encoded picture, such as ``'.jpg'``, by its first bytes.

    Knows JPEG, PNG, WebP, TIFF (big ones too), BMP and AVIF; None for anything else.
    """
    if data[:2] == b"\xff\xd8":
        return ".jpg"
    if data[:8] == SIGNATURE:
        return ".png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return ".tif"
    if data[:2] == b"BM":
        return ".bmp"
    return ".avif" if is_avif(data) else None


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels as the header of an encoded picture declares them.

    None for other formats than ``picture_format`` knows, and for a header cut short.
    """
    try:
        return _SIZES[picture_format(data) or ""](data)
    except (struct.error, KeyError):
        return None


def picture_depth(data: bytes) -> int:
    """Return the bits a channel that the header of a PNG, TIFF or AVIF declares; 8 for others."""
    kind = picture_format(data)
    if kind == ".png" and len(data) > 24:
        return data[24]
    if kind == ".avif":
        return read_properties(data).depth
    bits = read_tags(data).get(tags.BITS_PER_SAMPLE) if kind == ".tif" else None
    return int(bits.number or 8) if bits is not None else 8


def picture_quality(data: bytes) -> int | None:
    """Return the quality, 1 to 100, that an encoded picture was written with.

    JPEG by its quantization tables, 100 for lossless WebP and AVIF, None for what does not say.
    """
    kind = picture_format(data)
    if kind == ".jpg":
        return jpeg_quality(data)
    if (kind == ".webp" and _webp_is_lossless(data)) or (
        kind == ".avif" and read_properties(data).lossless
    ):
        return 100
    return None


def has_grey_alpha(data: bytes) -> bool:
    """Tell whether a PNG or TIFF is grey with transparency that OpenCV leaves out."""
    kind = picture_format(data)
    if kind == ".png":
        return data[25:26] == b"\0" and any(kind == b"tRNS" for kind, _, _ in chunks(data))
    samples = read_tags(data).get(tags.SAMPLES_PER_PIXEL) if kind == ".tif" else None
    return samples is not None and samples.number == 2


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, that an EXIF block (a TIFF structure) asks for, or 1."""
    tag = read_tags(exif).get(tags.ORIENTATION)
    found = tag.number if tag is not None else None
    return int(found) if found is not None and 1 <= found <= 8 else 1


def upright_exif(exif: bytes) -> bytes:
    """Return the EXIF block for pixels that have been turned and derained.

    Its orientation is set to 1, and its thumbnail, which shows the picture as it was, is dropped.
    """
    order = ">" if exif[:2] == b"MM" else "<"
    changed = bytearray(exif)
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        end = directory + 2 + 12 * count
        for at in range(directory + 2, end, 12):
            if struct.unpack_from(order + "H", exif, at)[0] == tags.ORIENTATION:
                struct.pack_into(order + "H", changed, at + 8, 1)
        struct.pack_into(order + "I", changed, end, 0)
    except struct.error:
        pass
    return bytes(changed)


def upright_xmp(xmp: bytes) -> bytes:
    """Return an XMP packet with its orientation, if it states one, set to 1."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


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


def _bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14) == (12,):  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


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


def _webp_is_lossless(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8L")
        # Frames of an animation are chunks inside a chunk, behind 16 bytes of their own.
        at += 24 if kind == b"ANMF" else 8 + length + length % 2
    return False


def _tiff_size(data: bytes) -> tuple[int, int]:
    """Read a TIFF or BigTIFF; of a tag that is there twice, the larger value."""
    order = ">" if data[:1] == b"M" else "<"
    big = b"+" in data[2:4]
    offset, start = ("Q", 8) if big else ("I", 4)
    (directory,) = struct.unpack_from(order + offset, data, start)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, directory)
    first, step, value = (directory + 8, 20, 12) if big else (directory + 2, 12, 8)
    sizes: dict[int, int] = {}
    for at in range(first, first + step * min(count, 1000), step):
        number, kind = struct.unpack_from(order + "HH", data, at)
        if number in (tags.IMAGE_WIDTH, tags.IMAGE_HEIGHT):
            (found,) = struct.unpack_from(order + _INTEGERS[kind], data, at + value)
            sizes[number] = max(sizes.get(number, 0), found)
    return sizes[tags.IMAGE_WIDTH], sizes[tags.IMAGE_HEIGHT]


_SIZES: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    ".jpg": jpeg_size,
    ".png": png_size,
    ".webp": _webp_size,
    ".tif": _tiff_size,
    ".bmp": _bmp_size,
    ".avif": lambda data: read_properties(data).size,
}
