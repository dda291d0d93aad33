"""What the boxes of an AVIF file say about its picture (ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_BOXES_INSIDE = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # and bytes before the first of them


@dataclass(frozen=True)
class AvifProperties:
    """Properties of the picture.

    Attributes:
        size: (width, height) in pixels, of the largest item, as stored; None where not said.
        depth: Bits a channel: 8, 10 or 12.
        orientation: What EXIF would call the turns and mirrors of the boxes, 1 to 8.
        icc: The colour profile, or None.
        lossless: Whether channels are stored as RGB, which only lossless files have a use for.
    """

    size: tuple[int, int] | None
    depth: int = 8
    orientation: int = 1
    icc: bytes | None = None
    lossless: bool = False


def is_avif(data: bytes) -> bool:
    """Tell whether the file calls itself an AVIF picture or sequence."""
    length = int.from_bytes(data[:4], "big")
    return data[4:8] == b"ftyp" and any(
        data[at : at + 4] in (b"avif", b"avis") for at in range(8, min(length, 256), 4)
    )


def read_properties(data: bytes) -> AvifProperties:
    """Return the properties of an AVIF file; what is damaged counts as not said."""
    sizes, depth, turns, mirror, icc, lossless = [], 8, 0, None, None, False
    for kind, body in _boxes(data):
        if kind == b"ispe" and len(body) >= 12:
            sizes.append(struct.unpack_from(">II", body, 4))
        elif kind == b"pixi" and len(body) >= 6:
            depth = max(depth, body[5])
        elif kind == b"irot" and body:
            turns = body[0] & 3
        elif kind == b"imir" and body:
            mirror = body[0] & 1
        elif kind == b"colr" and body[:4] in (b"prof", b"rICC"):
            icc = body[4:]
        elif kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            lossless = body[8:10] == b"\0\0"  # the identity matrix
    size = max(sizes, key=lambda size: size[0] * size[1], default=None)
    return AvifProperties(size, depth, _orientation(turns, mirror), icc, lossless)


def _orientation(turns: int, mirror: int | None) -> int:
    """Return the EXIF orientation of quarter turns to the left, then a mirror.

    The mirror is 0 for top against bottom, 1 for left against right, None for no mirror.
    """
    if mirror is None:
        return (1, 8, 3, 6)[turns]
    return ((4, 5, 2, 7), (2, 7, 4, 5))[mirror][turns]


def _boxes(data: bytes, depth: int = len(_BOXES_INSIDE)) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, content) of every box, and of the boxes inside those that hold properties."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            if at + 16 > len(data):
                return
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + length if length else len(data)
        if end < start:
            return
        if kind in _BOXES_INSIDE and depth:
            yield from _boxes(data[start + _BOXES_INSIDE[kind] : end], depth - 1)
        elif kind != b"mdat":
            yield kind, data[start:end]
        at = end
