"""The tags of a TIFF structure: of TIFF files, and of the EXIF block of every other format.

Values are held little-endian, so that the tags of one file can be written into another.
Layout: TIFF 6.0, section 2; EXIF: CIPA DC-008.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

IMAGE_WIDTH, IMAGE_HEIGHT, BITS_PER_SAMPLE = 256, 257, 258
DESCRIPTION = 270
ORIENTATION = 274
SAMPLES_PER_PIXEL = 277
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
XMP, ICC = 700, 34675
SHORT, LONG, RATIONAL, UNDEFINED, BYTE = 3, 4, 5, 7, 1

_FOLDERS = frozenset({34665, 34853, 40965})  # Exif, GPS, interoperability: offsets of directories
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WORD_BYTES = {5: 4, 10: 4}  # a rational is two words
_MOST_ENTRIES = 1000
_MOST_BYTES = 8_000_000  # of all values together, however often a hostile file names the same
_DEEPEST = 3

DESCRIPTIVE = frozenset(
    # Document and description, camera, page, software, date, artist, host, copyright.
    {269, DESCRIPTION, 271, 272, 285, 305, 306, 315, 316, 33432}
    | {18246, 18249, 33723, *range(40091, 40096), *_FOLDERS}  # rating, IPTC, Windows, EXIF, GPS
    | {33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}  # GeoTIFF and GDAL
)
"""Tags that tell about the picture, not about how this file stores its pixels."""


@dataclass(frozen=True)
class Tag:
    """One value: its TIFF type, its bytes (little-endian), or the directory that it points to."""

    kind: int
    value: bytes = b""
    folder: Mapping[int, Tag] | None = None

    @property
    def number(self) -> float | None:
        """The first number in it; None where there is none or the type is another."""
        formats = {1: "B", 3: "<H", 4: "<I", 5: "<II", 8: "<h", 9: "<i", 10: "<ii"}
        if self.kind not in formats or len(self.value) < struct.calcsize(formats[self.kind]):
            return None
        first, *rest = struct.unpack_from(formats[self.kind], self.value)
        if not rest:
            return float(first)
        return first / rest[0] if rest[0] else None


def read_tags(data: bytes) -> dict[int, Tag]:
    """Return the tags of the first directory of a TIFF structure, and of those below it.

    Entries that are cut short, far too large or of unknown types are left out; what is not a
    TIFF structure has none.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return {}
    return _Reader(data, order).directory(struct.unpack_from(order + "I", data, 4)[0])


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
            return Tag(LONG, folder=folder) if folder else None
        value = self._data[at : at + size]
        if len(value) < size:
            return None
        self._bytes_left -= size
        word = _WORD_BYTES.get(kind, _ITEM_BYTES[kind])
        if self._order == ">" and word > 1:
            value = np.frombuffer(value, f">u{word}").astype(f"<u{word}").tobytes()
        return Tag(kind, value)


def descriptive(tags: Mapping[int, Tag]) -> dict[int, Tag]:
    """Return those tags that may be copied into another file."""
    return {number: tag for number, tag in tags.items() if number in DESCRIPTIVE}


def exif_block(tags: Mapping[int, Tag]) -> bytes:
    """Return a TIFF structure of nothing but ``tags``, as EXIF blocks are."""
    return b"II*\0\x08\0\0\0" + _directory(tags, 8)


def add_tags(tiff: bytes, tags: Mapping[int, Tag]) -> bytes:
    """Return a little-endian TIFF file with ``tags`` added to its first directory.

    Its own tags win, but for the resolution. Pixels stay where they are: the new directory goes
    to the end. Further pages are dropped.
    """
    own = read_tags(tiff)
    for number in (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT):
        if number in tags:
            own.pop(number, None)
    padding = b"\0" * (len(tiff) % 2)
    at = len(tiff) + len(padding)
    header = tiff[:4] + struct.pack("<I", at)
    return b"".join([header, tiff[8:], padding, _directory({**tags, **own}, at)])


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
