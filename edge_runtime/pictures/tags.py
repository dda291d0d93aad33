"""Tags of a TIFF structure: of TIFF files, and of the EXIF block of every other format.

Values are held little-endian, so that the tags of one file can be written into another.
Layout: TIFF 6.0, section 2; EXIF: CIPA DC-008. XMP and Photoshop blocks are only cleaned here.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge_runtime.pictures.colour import Colour

METRE = 1 / 0.0254
"""Inches."""
Density = tuple[float, float]
"""Pixels an inch in x and y."""
Pixels = NDArray[Any]
CheckSize = Callable[[int, int], None]
Read = tuple[Pixels, "Metadata", int]
"""Pixels as they are stored, what the file says, and the orientation that they ask for."""

_ORIENTATION, _XMP, _ICC, _STRIPS = 274, 700, 34675, 273
_SUBFILE, _DNG, _IPTC, _PHOTOSHOP = 254, 50706, 33723, 34377
_REDUCED_OR_MASK = 0b101  # bits of _SUBFILE
_RESOLUTION = (282, 283, 296)  # x, y, unit
_FOLDERS = frozenset({34665, 34853, 40965})  # Exif, GPS, interoperability: offsets of directories
_DESCRIPTIVE = frozenset(
    # Document and description, camera, page, software, date, artist, host, copyright.
    {269, 270, 271, 272, 285, 305, 306, 315, 316, 33432}
    | {18246, 18249, 33723, *range(40091, 40096), *_FOLDERS}  # rating, IPTC, Windows, EXIF, GPS
    | {301, 318, 319}  # transfer function, white point, primaries
    | {33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}  # GeoTIFF and GDAL
)  # which tell about the picture, not about how this file stores its pixels

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_ITEM_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    18: 8,
}
_WORD_BYTES = {5: 4, 10: 4}  # a rational is two words
_MOST_ENTRIES = 1000
_MOST_BYTES = 8_000_000  # of all values together, however often a hostile file names the same
_DEEPEST = 3
_MOST_PAGES = 100_000
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:>|=[\"']))[2-8]")
_XMP_OF_PARTS = {
    b"http://ns.google.com/photos/1.0/camera/": rb"(?:MotionPhoto|MicroVideo)\w*",
    b"http://ns.google.com/photos/1.0/container/": rb"\w+",
    b"http://ns.adobe.com/hdr-gain-map/1.0/": rb"\w+",
    b"http://ns.apple.com/HDRGainMap/1.0/": rb"\w+",
    b"http://ns.apple.com/pixeldatainfo/1.0/": rb"\w+",
    b"http://ns.adobe.com/xmp/note/": rb"HasExtendedXMP",
    b"http://ns.adobe.com/xap/1.0/": rb"Thumbnails",
}  # properties that speak of what is no longer there, by namespace
_LONGEST_XMP = 1 << 17  # to look through: no JPEG, where such parts are, holds more
_MOST_PREFIXES = 4
_IPTC_BLOCK = re.compile(rb"8BIM\x04\x04\0\0(.{4})", re.DOTALL)


@dataclass(frozen=True)
class Timing:
    """How long a frame of an animation is shown, and how often all are: 0 is for ever."""

    milliseconds: int
    loops: int


@dataclass(frozen=True)
class Metadata:
    """What a picture file says beside its pixels.

    Attributes:
        exif: The EXIF block, a TIFF structure, its orientation already set to upright, or None.
        icc: The ICC profile that the pixels are to be read with, or None.
        xmp: The XMP packet, or None.
        iptc: Blocks of Photoshop, which hold the captions of agencies, or None.
        density: Pixels an inch in x and y, or None.
        colour: What numbers say in place of an ICC profile, or None.
        own: What other formats have no place for, kind and content: chunks of a PNG that tell
            colours or texts, and comments of a JPEG, whose kind is empty.
        lost: Names of what else is in the file, and in no result.
        pages: How many pages or frames the file has.
        timing: Of a frame; None for pages.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: Density | None = None
    colour: Colour | None = None
    own: tuple[tuple[bytes, bytes], ...] = ()
    lost: tuple[str, ...] = ()
    pages: int = 1
    timing: Timing | None = None


@dataclass(frozen=True)
class Tag:
    """One value: its TIFF type, its bytes (little-endian), or the directory that it points to."""

    kind: int
    value: bytes = b""
    folder: Mapping[int, Tag] | None = None


def read_tags(data: bytes, at: int | None = None) -> dict[int, Tag]:
    """Return the tags of one directory of a TIFF structure, and of those below it.

    Entries that are cut short, far too large or of unknown types are left out; what is not a
    TIFF structure has none.

    Args:
        data: The structure, also a BigTIFF.
        at: Where the directory lies, as ``directories`` says; None takes the first.
    """
    try:
        reader = _Reader(data)
        return reader.directory(reader.first() if at is None else at)[0]
    except (KeyError, struct.error):
        return {}


def directories(data: bytes) -> dict[int, int]:
    """Return the pages of a TIFF file: number of each directory that is one, and where it lies.

    Thumbnails, smaller copies and masks are none, and nothing is one in a raw photograph (DNG).

    Raises:
        struct.error: The file ends before the chain of directories does, or that is a circle.
    """
    reader = _Reader(data)
    pages: dict[int, int] = {}
    at = reader.first()
    for number in range(_MOST_PAGES):
        tags, following = reader.directory(at)
        if number == 0 and _DNG in tags:
            return {}
        subfile = tags.get(_SUBFILE)
        if subfile is None or not subfile.value[0] & _REDUCED_OR_MASK:
            pages[number] = at
        at = reader.number(following)
        if at == 0:
            return pages
    raise struct.error("too many directories")


def exif_of_tiff(data: bytes, at: int | None = None) -> bytes | None:
    """Return what a directory tells about its picture as an EXIF block; None where that is none."""
    found = _descriptive(data, at)
    return _block(found) if found else None


def photoshop_of_tiff(data: bytes, at: int | None = None) -> bytes | None:
    """Return the blocks of Photoshop in a directory, or one made of its IPTC tag; or None."""
    found = read_tags(data, at)
    if _PHOTOSHOP in found:
        return found[_PHOTOSHOP].value
    iptc = found[_IPTC].value if _IPTC in found else b""
    padding = b"\0" * (len(iptc) % 2)
    return struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(iptc)) + iptc + padding if iptc else None


def clean_xmp(xmp: bytes) -> bytes:
    """Return an XMP packet for an upright picture alone.

    Its orientation is 1, and what it says of a video clip, a gain map, a thumbnail or a second
    packet is gone.
    """
    for space, names in _XMP_OF_PARTS.items() if len(xmp) < _LONGEST_XMP else ():
        declared = rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(space) + rb"[\"']"
        for prefix in re.findall(declared, xmp)[:_MOST_PREFIXES]:
            name = re.escape(prefix) + b":" + names
            xmp = re.sub(rb"(?<=\s)" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
            xmp = _without_elements(xmp, name)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def _without_elements(xmp: bytes, name: bytes) -> bytes:
    """Leave out elements by the pattern of their name, up to one that does not end."""
    kept, at = [], 0
    for opening in re.finditer(rb"<(" + name + rb")\b[^<>]*>", xmp):
        if opening.start() < at:
            continue  # inside the one before
        end = opening.end()
        if not opening[0].endswith(b"/>"):
            end = xmp.find(b"</" + opening[1] + b">", end) + 1
            if end == 0:
                break
            end += len(opening[1]) + 2
        kept.append(xmp[at : opening.start()])
        at = end
    return b"".join(kept) + xmp[at:]


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


def density_of(exif: bytes, at: int | None = None) -> Density | None:
    """Return the pixels an inch that a directory of a TIFF structure says, or None."""
    found = read_tags(exif, at)
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
    photoshop: bytes | None,
    density: Density | None,
) -> bytes:
    """Return a little-endian TIFF file with metadata added to its first directory.

    Its own tags win, but for the resolution. Pixels stay where they are: the new directory goes
    to the end. Further pages are dropped.
    """
    tags = _descriptive(exif) if exif else {}
    for number, kind, block in (
        (_ICC, _UNDEFINED, icc),
        (_XMP, _BYTE, xmp),
        (_PHOTOSHOP, _BYTE, photoshop),
    ):
        if block is not None:
            tags[number] = Tag(kind, block)
    if photoshop is not None and (found := _IPTC_BLOCK.search(photoshop)) is not None:
        size = int.from_bytes(found[1], "big")
        tags[_IPTC] = Tag(_UNDEFINED, photoshop[found.end() : found.end() + size])
    own = read_tags(tiff)
    tags.update((number, tag) for number, tag in own.items() if number not in _RESOLUTION)
    if density is not None:
        tags.update(_resolution(density))
    padding = b"\0" * (len(tiff) % 2)
    at = len(tiff) + len(padding)
    header = tiff[:4] + struct.pack("<I", at)
    return b"".join([header, tiff[8:], padding, _directory(tags, at)])


def join_tiffs(files: list[bytes]) -> bytes:
    """Return one TIFF file with the pages that ``tiff_with`` made, which are used up.

    Raises:
        struct.error: It would be larger than 4 GB.
    """
    whole, link = bytearray(b"II*\0\0\0\0\0"), 4
    while files:
        file = files.pop(0)
        (end,) = struct.unpack_from("<I", file, 4)
        tags = read_tags(file)
        strips = tags[_STRIPS]
        places = np.frombuffer(strips.value, "<u2" if strips.kind == _SHORT else "<u4")
        moved = places.astype(np.uint64) + (len(whole) - 8)
        tags[_STRIPS] = Tag(_LONG, moved.astype("<u4").tobytes())
        whole += memoryview(file)[8:end]
        at = len(whole)
        struct.pack_into("<I", whole, link, at)
        link = at + 2 + 12 * len(tags)
        whole += _directory(tags, at)
        whole += b"\0" * (len(whole) % 2)
    return bytes(whole)


class _Reader:
    """Directories of a TIFF structure, read in its order of bytes.

    Raises:
        KeyError: It is none.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = {b"II": "<", b"MM": ">"}[data[:2]]
        self._word = {42: 4, 43: 8}[struct.unpack_from(self._order + "H", data, 2)[0]]
        self._bytes_left = _MOST_BYTES

    def first(self) -> int:
        return self.number(self._word)

    def number(self, at: int) -> int:
        kind = "I" if self._word == 4 else "Q"  # 8 bytes in a BigTIFF
        return int(struct.unpack_from(self._order + kind, self._data, at)[0])

    def directory(self, offset: int, depth: int = 1) -> tuple[dict[int, Tag], int]:
        """Return the tags of a directory, and where it says which one follows."""
        kind = "H" if self._word == 4 else "Q"
        (count,) = struct.unpack_from(self._order + kind, self._data, offset)
        tags: dict[int, Tag | None] = {}
        start, step = offset + struct.calcsize(kind), 4 + 2 * self._word
        with contextlib.suppress(struct.error):
            for at in range(start, start + step * min(count, _MOST_ENTRIES), step):
                number, kind = struct.unpack_from(self._order + "HH", self._data, at)
                if number not in tags:
                    tags[number] = None
                    tags[number] = self._tag(at + 4, number, kind, depth)
        return {n: tag for n, tag in tags.items() if tag is not None}, start + step * count

    def _tag(self, at: int, number: int, kind: int, depth: int) -> Tag | None:
        size = _ITEM_BYTES.get(kind, 0) * self.number(at)
        at += self._word
        if not 0 < size <= self._bytes_left:
            return None
        if size > self._word or number in _FOLDERS:
            at = self.number(at)
        if number in _FOLDERS:
            folder = self.directory(at, depth + 1)[0] if depth < _DEEPEST else {}
            return Tag(_LONG, folder=folder) if folder else None
        value = self._data[at : at + size]
        if len(value) < size:
            return None
        self._bytes_left -= size
        word = _WORD_BYTES.get(kind, _ITEM_BYTES[kind])
        if self._order == ">" and word > 1:
            value = np.frombuffer(value, f">u{word}").astype(f"<u{word}").tobytes()
        return Tag(kind, value)


def _descriptive(data: bytes, at: int | None = None) -> dict[int, Tag]:
    return {n: tag for n, tag in read_tags(data, at).items() if n in _DESCRIPTIVE}


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
