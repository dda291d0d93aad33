"""Chunks of PNG and WebP files: what they say, and animations that are made of still pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from edge_runtime.pictures import colour, tags
from edge_runtime.pictures.tags import METRE, Metadata, Timing

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi")
_HEAD = 33  # bytes of the signature and of IHDR, which comes first
_XMP = b"XML:com.adobe.xmp\0"
_ALPHA, _ANIMATION = 0x10, 0x02  # flags of VP8X
_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_REPLACE = 0x02  # what is below a frame of a WebP


def png_chunks(data: bytes, *, check: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each chunk of a PNG, as far as it is whole.

    Raises:
        struct.error: A chunk is damaged, which is looked at if ``check``.
    """
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        at += 12 + length
        if check and struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))) != data[at - 4 : at]:
            raise struct.error("checksum")
        yield kind, content


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", check)


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each chunk of a WebP; frames are chunks inside a chunk."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def png_says(data: bytes) -> Metadata:
    """Return what the chunks of a PNG say, but for what libvips reads.

    Raises:
        struct.error: One is too short.
    """
    animated = b"acTL" in data[: data.find(b"IDAT")]  # which OpenCV reads, and checks nothing
    chunks = [
        each for each in png_chunks(data, check=animated) if each[0] not in (b"IDAT", b"fdAT")
    ]
    found = dict(reversed(chunks))
    density = None
    if len(stated := found.get(b"pHYs", b"")) == 9 and stated[8] == 1:
        x, y = struct.unpack_from(">II", stated)
        density = tags.plausible(x / METRE, y / METRE)
    own = [
        (kind, content)
        for kind, content in chunks
        if kind in (*_COLOURS, *_TEXTS) and not content.startswith(_XMP)
    ]
    lost = ("content credentials (C2PA)",) if b"caBX" in found else ()
    (pages,) = struct.unpack_from(">I", found.get(b"acTL", b"\0\0\0\1"))
    return Metadata(
        density=density, colour=colour.of_png(found), own=tuple(own), lost=lost, pages=max(pages, 1)
    )


def with_chunks(encoded: bytes, metadata: Metadata) -> bytes:
    """Put in EXIF and own chunks, and take out the density that libvips makes up for none."""
    body = encoded[_HEAD:]
    if metadata.density is None:
        at = body.index(b"pHYs") - 4
        body = body[:at] + body[at + 21 :]
    chunks = [(kind, content) for kind, content in metadata.own if kind]
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif))
    return encoded[:_HEAD] + b"".join(png_chunk(*chunk) for chunk in chunks) + body


def webp_is_lossless(data: bytes) -> bool:
    """Return whether the first picture of a WebP is."""
    for kind, content in webp_chunks(data):
        if kind == b"ANMF":
            kind = content[16:20]
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
    return False


def join_png(files: Sequence[bytes], timings: Sequence[Timing]) -> bytes:
    """Return an animated PNG of still ones of one size and kind; the first one's chunks stay."""
    first = list(png_chunks(files[0]))
    size = first[0][1][:8]
    parts = [files[0][:_HEAD], png_chunk(b"acTL", struct.pack(">II", len(files), timings[0].loops))]
    parts += [png_chunk(*each) for each in first[1:] if each[0] not in (b"IDAT", b"IEND")]
    number = 0
    for file, timing in zip(files, timings, strict=True):
        shown = timing.milliseconds
        delay = (shown, 1000) if shown < 1 << 16 else (min(shown // 1000, 65535), 1)
        parts.append(png_chunk(b"fcTL", struct.pack(">I8s8xHHBB", number, size, *delay, 0, 0)))
        number += 1
        for content in (content for kind, content in png_chunks(file) if kind == b"IDAT"):
            if file is files[0]:
                parts.append(png_chunk(b"IDAT", content))
                continue
            parts.append(png_chunk(b"fdAT", struct.pack(">I", number) + content))
            number += 1
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def join_webp(files: Sequence[bytes], timings: Sequence[Timing], width: int, height: int) -> bytes:
    """Return an animated WebP of still ones of one size; the first one's metadata stay."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    said = {kind: content for kind, content in webp_chunks(files[0]) if kind in _FLAGS}
    flags = _ANIMATION | sum(_FLAGS[kind] for kind in said)
    frames = []
    for file, timing in zip(files, timings, strict=True):
        coded = [each for each in webp_chunks(file) if each[0] in (b"ALPH", b"VP8 ", b"VP8L")]
        if any(kind == b"ALPH" or (kind == b"VP8L" and content[4] & 16) for kind, content in coded):
            flags |= _ALPHA
        shown = min(timing.milliseconds, 0xFFFFFF).to_bytes(3, "little")
        head = bytes(6) + size + shown + bytes([_REPLACE])
        frames.append((b"ANMF", head + b"".join(_webp_chunk(*each) for each in coded)))
    chunks = [(b"VP8X", bytes([flags, 0, 0, 0]) + size)]
    chunks += [(b"ICCP", said[b"ICCP"])] if b"ICCP" in said else []
    chunks += [(b"ANIM", struct.pack("<IH", 0, min(timings[0].loops, 0xFFFF))), *frames]
    chunks += [(kind, said[kind]) for kind in (b"EXIF", b"XMP ") if kind in said]
    body = b"WEBP" + b"".join(_webp_chunk(*each) for each in chunks)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)
