"""Tags of a TIFF structure: of TIFF files, and of the EXIF block of every other format.

Values are held little-endian, so that the tags of one file can be written into another.
Layout: TIFF 6.0, section 2; EXIF: CIPA DC-008.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Density = tuple[float, float]
"""Pixels an inch in x and y."""

_ORIENTATION, _XMP, _ICC = 274, 700, 34675
_RESOLUTION = (282, 283, 296)  # x, y, unit
_FOLDERS = frozenset({34665, 34853, 40965})  # Exif, GPS, interoperability: offsets of directories
_DESCRIPTIVE = frozenset(
    # Document and description, camera, page, software, date, artist, host, copyright.
    {269, 270, 271, 272, 285, 305, 306, 315, 316, 33432}
    | {18246, 18249, 33723, *range(40091, 40096), *_FOLDERS}  # rating, IPTC, Windows, EXIF, GPS
    | {33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}  # GeoTIFF and GDAL
)  # which tell about the picture, not about how this file stores its pixels

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WORD_BYTES = {5: 4, 10: 4}  # a rational is two words
_MOST_ENTRIES = 1000
_MOST_BYTES = 8_000_000  # of all values together, however often a hostile file names the same
_DEEPEST = 3


@dataclass(frozen=True)
class Tag:
    """One value: its TIFF type, its bytes (little-endian), or the directory that it points to."""

    kind: int
    value: bytes = b""
    folder: Mapping[int, Tag] | None = None


def read_tags(data: bytes) -> dict[int, Tag]:
    """Return the tags of the first directory of a TIFF structure, and of those below it.

    Entries that are cut short, far too large or of unknown types are left out; what is not a
    TIFF structure has none.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return {}
    return _Reader(data, order).directory(struct.unpack_from(order + "I", data, 4)[0])


def exif_of_tiff(data: bytes) -> bytes | None:
    """Return what a TIFF file tells about its picture as an EXIF block; None where that is none."""
    found = _descriptive(data)
    return _block(found) if found else None


def upright(exif: bytes) -> bytes:
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
            if struct.unpack_from(order + "H", exif, at)[0] == _ORIENTATION:
                struct.pack_into(order + "H", changed, at + 8, 1)
        struct.pack_into(order + "I", changed, end, 0)
    except struct.error:
        pass
    return bytes(changed)


def density_of(exif: bytes) -> Density | None:
    """Return the pixels an inch that a TIFF structure says, or None."""
    found = read_tags(exif)
    x, y, unit = (found.get(number) for number in _RESOLUTION)
    if x is None or y is None or not x.kind == y.kind == _RATIONAL:
        return None
    inches = {2: 1.0, 3: 2.54}.get(struct.unpack("<H", unit.value[:2])[0] if unit else 2, 0.0)
    (x, x_part), (y, y_part) = (struct.unpack("<II", each.value[:8]) for each in (x, y))
    return plausible(inches * x / (x_part or 1), inches * y / (y_part or 1))


def plausible(x: float, y: float) -> Density | None:
    """Return pixels an inch, or None where no format but the one that says so could hold them."""
    return (x, y) if 1 <= x <= 65535 and 1 <= y <= 65535 else None


def exif_of_density(density: Density) -> bytes:
    """Return an EXIF block that says nothing but the pixels an inch."""
    return _block(_resolution(density))


def tiff_with(
    tiff: bytes,
    exif: bytes | None,
    icc: bytes | None,
    xmp: bytes | None,
    density: Density | None,
) -> bytes:
    """Return a little-endian TIFF file with metadata added to its first directory.

    Its own tags win, but for the resolution. Pixels stay where they are: the new directory goes
    to the end. Further pages are dropped.
    """
    tags = _descriptive(exif) if exif else {}
    if icc is not None:
        tags[_ICC] = Tag(_UNDEFINED, icc)
    if xmp is not None:
        tags[_XMP] = Tag(_BYTE, xmp)
    own = read_tags(tiff)
    tags.update((number, tag) for number, tag in own.items() if number not in _RESOLUTION)
    if density is not None:
        tags.update(_resolution(density))
    padding = b"\0" * (len(tiff) % 2)
    at = len(tiff) + len(padding)
    header = tiff[:4] + struct.pack("<I", at)
    return b"".join([header, tiff[8:], padding, _directory(tags, at)])


class _Reader:
    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self._bytes_left = _MOST_BYTES

    def directory(self, offset: int, depth: int = 1) -> dict[int, Tag]:
        tags: dict[int, Tag] = {}
        seen = set()
        try:
            (entries,) = struct.unpack_from(self._order + "H", self._data, offset)
            for at in range(offset + 2, offset + 2 + 12 * min(entries, _MOST_ENTRIES), 12):
                number, kind, count = struct.unpack_from(self._order + "HHI", self._data, at)
                tag = None if number in seen else self._tag(at + 8, number, kind, count, depth)
                seen.add(number)
                if tag is not None:
                    tags[number] = tag
        except struct.error:
            pass
        return tags

    def _tag(self, at: int, number: int, kind: int, count: int, depth: int) -> Tag | None:
        size = _ITEM_BYTES.get(kind, 0) * count
        if not 0 < size <= self._bytes_left:
            return None
        if size > 4 or number in _FOLDERS:
            (at,) = struct.unpack_from(self._order + "I", self._data, at)
        if number in _FOLDERS:
            folder = self.directory(at, depth + 1) if depth < _DEEPEST else {}
            return Tag(_LONG, folder=folder) if folder else None
        value = self._data[at : at + size]
        if len(value) < size:
            return None
        self._bytes_left -= size
        word = _WORD_BYTES.get(kind, _ITEM_BYTES[kind])
        if self._order == ">" and word > 1:
            value = np.frombuffer(value, f">u{word}").astype(f"<u{word}").tobytes()
        return Tag(kind, value)


def _descriptive(data: bytes) -> dict[int, Tag]:
    return {number: tag for number, tag in read_tags(data).items() if number in _DESCRIPTIVE}


def _resolution(density: Density) -> dict[int, Tag]:
    values = [Tag(_RATIONAL, struct.pack("<II", round(each * 1000), 1000)) for each in density]
    return dict(zip(_RESOLUTION, [*values, Tag(_SHORT, struct.pack("<H", 2))], strict=True))


def _block(tags: Mapping[int, Tag]) -> bytes:
    return b"II*\0\x08\0\0\0" + _directory(tags, 8)


def _directory(tags: Mapping[int, Tag], at: int) -> bytes:
    """Return a directory that will lie ``at`` bytes into its file, with its values behind it."""
    entries, values = [], []
    end = at + 2 + 12 * len(tags) + 4
    for number, tag in sorted(tags.items()):
        if tag.folder is not None:
            count, value, inline = 1, _directory(tag.folder, end), False
        else:
            count = len(tag.value) // _ITEM_BYTES[tag.kind]
            value, inline = tag.value, len(tag.value) <= 4
        if inline:
            entries.append(struct.pack("<HHI4s", number, tag.kind, count, value))
            continue
        entries.append(struct.pack("<HHII", number, tag.kind, count, end))
        values.append(value + b"\0" * (len(value) % 2))
        end += len(values[-1])
    return b"".join([struct.pack("<H", len(tags)), *entries, bytes(4), *values])
