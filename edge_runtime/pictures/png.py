"""The chunks of a PNG file (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, stop) of the content of each chunk of a PNG file, up to its last.

    Raises:
        ValueError: A chunk reaches beyond the end of the file, or the last one is missing.
    """
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        stop = at + 8 + length
        if stop + 4 > len(data):
            raise ValueError(f"chunk {kind!r} at {at} is longer than the file")
        yield kind, at + 8, stop
        if kind == b"IEND":
            return
        at = stop + 4
    raise ValueError("IEND is missing")


def png_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels as the header declares them.

    None where a chunk claims more than the file holds: decoders would set that much memory aside.
    """
    try:
        kinds = [kind for kind, _, _ in chunks(data)]
    except ValueError:
        return None
    if kinds[0] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
