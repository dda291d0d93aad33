"""Picture files that OpenCV reads and writes: WebP, AVIF and BMP, and all in forked processes."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray

from edge_runtime.pictures import colour, tags
from edge_runtime.pictures.tags import METRE, CheckSize, Metadata, Pixels, Read, Timing

_AVIF_PEAK = 4095  # of the 12 bits that 16 are written with
_LOSSLESS_WEBP = 101
_BLOCK_PIXELS = 16_000_000  # of the frames that are decoded at once
_CORE, _INFO, _V3, _V4, _V5 = 12, 40, 56, 108, 124  # bytes of the headers of BMP
_BITFIELDS, _MASKS_555 = (3, 6), (0x7C00, 0x3E0, 0x1F)


def read_pixels(data: bytes) -> tuple[Pixels, Metadata]:
    """Return the first picture of a file, and its EXIF and XMP.

    Raises:
        cv2.error: It is damaged.
    """
    pixels, kinds, blocks = cv2.imdecodeWithMetadata(
        np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
    )
    if pixels is None:
        raise cv2.error("no picture")
    found = {int(kind): block.tobytes() for kind, block in zip(kinds, blocks, strict=True)}
    exif, xmp = (found.get(kind) for kind in (cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_XMP))
    return _rgb(pixels), Metadata(exif, xmp=xmp and xmp.rstrip(b"\0"))


def read_frames(
    data: bytes, count: int, width: int, height: int
) -> Iterator[tuple[Pixels, Timing]]:
    """Yield the frames of an animation, of which few are held at once.

    Raises:
        cv2.error: It is damaged.
    """
    block = max(1, _BLOCK_PIXELS // max(1, width * height))
    for first in range(0, count, block):
        wanted = min(block, count - first)
        done, found = cv2.imdecodeanimation(np.frombuffer(data, np.uint8), first, wanted)
        if not done or len(found.frames) != wanted:
            raise cv2.error("a frame is missing")
        for pixels, delay in zip(found.frames, found.durations, strict=True):
            yield _rgb(pixels), Timing(int(delay), int(found.loop_count))


def read_avif(data: bytes, check_size: CheckSize) -> Iterator[Read]:
    """Read what OpenCV leaves out by libvips or from the boxes of the file (ISO/IEC 23008-12)."""
    sizes = [struct.unpack(">II", size) for size in _boxes(data, rb"\x14ispe.{4}(.{8})")]
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    check_size(width, height)
    depth = max((ord(bits) for bits in _boxes(data, rb"pixi.{5}(.)")), default=8)
    turns = _boxes(data, rb"\x09irot(.)") or [b"\0"]
    mirror = _boxes(data, rb"\x09imir(.)")
    orientations = ((4, 5, 2, 7), (2, 7, 4, 5))[ord(mirror[0]) & 1] if mirror else (1, 8, 3, 6)
    orientation = orientations[ord(turns[0]) & 3]

    def full(pixels: Pixels) -> Pixels:
        if pixels.dtype == np.uint16 and depth < 16:
            pixels = np.rint(pixels * np.float32(65535 / (2**depth - 1))).astype(np.uint16)
        return pixels

    pixels, metadata = read_pixels(data)
    with contextlib.suppress(pyvips.Error):  # which is of a sequence
        image = pyvips.Image.heifload_buffer(data)
        if image.get_typeof("xmp-data"):
            metadata = dataclasses.replace(metadata, xmp=image.get("xmp-data"))
    profile = re.search(rb"(.{4})colr(?:prof|rICC)", data, re.DOTALL)
    codes = _boxes(data, rb"colrnclx(.{4})")
    if profile is not None:
        icc = data[profile.end() : profile.start() + int.from_bytes(profile[1], "big")]
        metadata = dataclasses.replace(metadata, icc=icc)
    elif codes:
        said = colour.of_codes(*struct.unpack(">HH", codes[0]))
        metadata = dataclasses.replace(metadata, colour=said)
    if b"tmap" in data[8:64]:
        metadata = dataclasses.replace(metadata, lost=("gain map",))
    counts = [int.from_bytes(count, "big") for count in _boxes(data, rb"stsz.{8}(.{4})")]
    count = max(counts, default=1)
    if data[8:12] != b"avis" or count < 2:
        yield full(pixels), metadata, orientation
        return
    for pixels, timing in read_frames(data, count, width, height):
        yield full(pixels), dataclasses.replace(metadata, pages=count, timing=timing), orientation


def read_bmp(data: bytes, check_size: CheckSize) -> Read:
    """Read a BMP: what OpenCV gets wrong, headers of OS/2 and bit masks, is read here."""
    start, size = struct.unpack_from("<II", data, 10)
    width, height, _, bits = struct.unpack_from("<HHHH" if size == _CORE else "<iiHH", data, 18)
    check_size(abs(width), abs(height))
    if size < _INFO:
        data, start = _with_info_header(data, start, size, (width, height, bits))
    (kind,) = struct.unpack_from("<I", data, 30)
    masks = _MASKS_555
    if kind in _BITFIELDS:
        masks = struct.unpack_from("<4I" if size >= _V3 else "<3I", data, 14 + _INFO)
    icc = said = None
    if size >= _V4 and data[70:74] == bytes(4):  # calibrated
        *endpoints, gamma = struct.unpack_from("<9iI", data, 74)
        said = colour.of_endpoints(tuple(endpoints), gamma)
    elif size >= _V5 and data[70:74] == b"DEBM":  # embedded
        at, length = struct.unpack_from("<II", data, 126)
        icc = data[14 + at : 14 + at + length]
    if bits == 16 or (bits == 32 and kind in _BITFIELDS):
        pixels = _bit_fields(data[start:], bits // 8, masks, width, height)
    else:
        pixels = read_pixels(data)[0]
    density = tags.plausible(*(each / METRE for each in struct.unpack_from("<ii", data, 38)))
    return pixels, Metadata(icc=icc, colour=said, density=density), 1


def write(pixels: Pixels, metadata: Metadata, suffix: str, quality: int) -> bytes | None:
    """Return an encoded picture as ``formats.encode`` does; 16 bits are rounded to 12 in AVIF."""
    flags = []
    if suffix in (".jpg", ".jpeg"):
        full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    elif suffix == ".webp":
        flags = [cv2.IMWRITE_WEBP_QUALITY, quality if quality < 100 else _LOSSLESS_WEBP]
    elif suffix == ".avif":
        deep = pixels.dtype == np.uint16
        flags = [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_DEPTH, 12 if deep else 8]
        if deep:
            pixels = np.rint(pixels * np.float32(_AVIF_PEAK / 65535)).astype(np.uint16)
    exif, density = metadata.exif, metadata.density
    if exif is None and density is not None:
        exif = tags.exif_of_density(density)
    kinds = (cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP, cv2.IMAGE_METADATA_XMP)
    blocks = {k: b for k, b in zip(kinds, (exif, metadata.icc, metadata.xmp), strict=True) if b}
    try:
        if suffix == ".bmp":
            encoded = cv2.imencode(suffix, _rgb(pixels))[1].tobytes()
            metres = [round(each * METRE) for each in density or ()]
            return encoded[:38] + struct.pack("<ii", *metres) + encoded[46:] if metres else encoded
        contents = [np.frombuffer(block, np.uint8) for block in blocks.values()]
        done, buffer = cv2.imencodeWithMetadata(suffix, _rgb(pixels), list(blocks), contents, flags)
    except cv2.error:
        return None
    if not done:
        return None
    encoded = buffer.tobytes()
    if suffix == ".avif" and metadata.colour is not None and metadata.colour.codes:
        codes = b"colrnclx" + struct.pack(">HH", *metadata.colour.codes)
        encoded = re.sub(rb"colrnclx....", lambda _: codes, encoded, count=1, flags=re.DOTALL)
    return encoded


def rgb_of_cmyk(pixels: Pixels) -> Pixels:
    """Return what a printer would mix, without the profile, as OpenCV does."""
    light, key = 255 - pixels[..., :3].astype(np.int32), 255 - pixels[..., 3:].astype(np.int32)
    return (key - ((255 - light) * key >> 8)).astype(np.uint8)


def _rgb(pixels: NDArray[Any]) -> Pixels:
    """Return pixels with red and blue exchanged."""
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _boxes(data: bytes, pattern: bytes) -> list[bytes]:
    return re.findall(pattern, data, re.DOTALL)


def _with_info_header(
    data: bytes, start: int, size: int, said: tuple[int, int, int]
) -> tuple[bytes, int]:
    """Return a BMP of OS/2 with the longer header of Windows, and where its pixels start."""
    width, height, bits = said
    palette = data[14 + size : start]
    if size == _CORE:
        colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
        palette = np.pad(colours, ((0, 0), (0, 1))).tobytes()
    head = struct.pack("<IiiHH16xI4x", _INFO, width, height, 1, bits, len(palette) // 4)
    begin = 14 + len(head) + len(palette)
    return data[:10] + struct.pack("<I", begin) + head + palette + data[start:], begin


def _bit_fields(content: bytes, size: int, masks: Sequence[int], width: int, height: int) -> Pixels:
    """Return pixels of 2 or 4 bytes, in which masks tell red, green, blue and perhaps alpha."""
    stride = -(-width * size // 4) * 4
    if len(content) < stride * abs(height) or width < 1 or 0 in masks[:3]:
        raise struct.error("too short")
    rows = np.frombuffer(content, np.uint8, stride * abs(height)).reshape(-1, stride)
    values = np.ascontiguousarray(rows[:, : width * size]).view(f"<u{size}")
    channels = []
    for mask in filter(None, masks):
        low = (mask & -mask).bit_length() - 1
        found = ((values & np.uint32(mask)) >> low).astype(np.float32)
        channels.append(np.rint(found * np.float32(255 / (mask >> low))).astype(np.uint8))
    return np.ascontiguousarray(np.dstack(channels)[:: -1 if height > 0 else 1])
