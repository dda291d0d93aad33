"""The pixels an inch that a picture file asks to be printed with, read and written."""

from __future__ import annotations

import struct

from edge_runtime.pictures import tags
from edge_runtime.pictures.jpeg import jpeg_density
from edge_runtime.pictures.png import chunk, chunks
from edge_runtime.pictures.tags import Tag, read_tags

Density = tuple[float, float]
"""Pixels an inch in x and y."""

_METRE = 1 / 0.0254  # inches
_PNG_BODY = 33  # signature and IHDR, which comes first


def read_density(data: bytes, exif: bytes | None) -> Density | None:
    """Return the density of an encoded picture, from its own header or else from its EXIF block.

    Reads JPEG, PNG, BMP and TIFF headers. None where nothing, or no unit, is said.
    """
    found = None
    if data[:2] == b"\xff\xd8":
        found = jpeg_density(data)
    elif data[:4] == b"\x89PNG":
        found = _png_density(data)
    elif data[:2] == b"BM" and len(data) >= 46 and data[14] >= 40:
        found = _from_metres(*struct.unpack_from("<ii", data, 38))
    elif data[:4] in (b"II*\0", b"MM\0*"):
        found = _tag_density(data)
    return found or (_tag_density(exif) if exif else None)


def density_tags(density: Density) -> dict[int, Tag]:
    """Return the TIFF tags that say a density."""
    x, y = (struct.pack("<II", round(value * 1000), 1000) for value in density)
    return {
        tags.X_RESOLUTION: Tag(tags.RATIONAL, x),
        tags.Y_RESOLUTION: Tag(tags.RATIONAL, y),
        tags.RESOLUTION_UNIT: Tag(tags.SHORT, struct.pack("<H", 2)),
    }


def set_density(encoded: bytes, density: Density) -> bytes:
    """Return a JPEG, PNG or BMP file with its density; other files as they are.

    The file is one that OpenCV wrote: JFIF header first, no density in a PNG.
    """
    if encoded[:4] == b"\xff\xd8\xff\xe0":
        x, y = (min(round(value), 65535) for value in density)
        return encoded[:13] + struct.pack(">BHH", 1, x, y) + encoded[18:]
    if encoded[:4] == b"\x89PNG":
        stated = chunk(b"pHYs", struct.pack(">IIB", *_metres(density), 1))
        return encoded[:_PNG_BODY] + stated + encoded[_PNG_BODY:]
    if encoded[:2] == b"BM":
        return encoded[:38] + struct.pack("<ii", *_metres(density)) + encoded[46:]
    return encoded


def _png_density(data: bytes) -> Density | None:
    for kind, start, stop in chunks(data):
        if kind == b"pHYs" and stop - start == 9:
            x, y, unit = struct.unpack_from(">IIB", data, start)
            return _from_metres(x, y) if unit == 1 else None
    return None


def _tag_density(data: bytes) -> Density | None:
    found = read_tags(data)
    x, y, unit = (
        found[number].number if number in found else None
        for number in (tags.X_RESOLUTION, tags.Y_RESOLUTION, tags.RESOLUTION_UNIT)
    )
    scale = {2: 1.0, 3: 2.54}.get(2 if unit is None else int(unit))
    if scale is None or not x or not y:
        return None
    return _plausible(x * scale, y * scale)


def _from_metres(x: int, y: int) -> Density | None:
    return _plausible(x / _METRE, y / _METRE)


def _metres(density: Density) -> tuple[int, int]:
    return round(density[0] * _METRE), round(density[1] * _METRE)


def _plausible(x: float, y: float) -> Density | None:
    """Refuse what no format but this one can hold."""
    return (x, y) if 1 <= x <= 65535 and 1 <= y <= 65535 else None
