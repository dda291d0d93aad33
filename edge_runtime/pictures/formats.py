"""Formats of picture files: encoded bytes to upright pixels with all that the file says, and back.

libvips reads and writes JPEG, PNG and TIFF. OpenCV has the pixels of the others: BMP, which libvips
does not know; AVIF, where libvips reads coarser chroma and no sequences; WebP, which libvips reads
with threads and writes without maker notes. libvips writes EXIF anew everywhere, so the block is
put as it is into JPEG and PNG here, and its tags into TIFF.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray
from pyvips.vimage import FORMAT_TO_TYPESTR

from edge_runtime.pictures import tags

JPEG, TIFF = (".jpg", ".jpeg"), (".tif", ".tiff")
DEEP = (".png", *TIFF, ".avif")
"""Suffixes of the formats that hold more than 8 bits a channel."""
OPAQUE = (*JPEG, ".bmp")
"""Suffixes of those that hold no transparency."""

Pixels = NDArray[Any]
CheckSize = Callable[[int, int], None]
Read = tuple[Pixels, "Metadata", int]
"""Pixels as they are stored, what the file says, and the orientation that they ask for."""

_OWN_PROCESS = os.getpid()
"""One that is forked from it has none of the threads with which libvips writes."""
_ROWS = 16  # decoded at once
_METRE = 1 / 0.0254  # inches
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:>|=[\"']))[2-8]")
_AVIF_PEAK = 4095  # of the 12 bits that 16 are written with
_LOSSLESS_WEBP = 101
_TEXT = "png-comment-"
_PNG_HEAD = 33  # bytes of the signature and of IHDR, which comes first
_START_OF_SCAN, _QUANTIZATION = 0xDA, 0xDB
_BLOCKS = {"icc": "icc-profile-data", "xmp": "xmp-data", "iptc": "iptc-data"}
_KEPT = "icc|xmp|iptc|other"


@dataclass(frozen=True)
class Metadata:
    """What a picture file says beside its pixels.

    Attributes:
        exif: The EXIF block, a TIFF structure, its orientation already set to upright, or None.
        icc: The ICC profile that the pixels are to be read with, or None.
        xmp: The XMP packet, or None.
        iptc: The Photoshop block of a JPEG, or None.
        density: Pixels an inch in x and y, or None.
        texts: Of a PNG, by the names that libvips gives them.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tags.Density | None = None
    texts: dict[str, str] = field(default_factory=dict)


def format_of(data: bytes) -> str | None:
    """Return the suffix that fits an encoded picture, such as ``'.jpg'``, by its first bytes.

    Knows JPEG, PNG, WebP, TIFF (big ones too), BMP and AVIF; None for anything else.
    """
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[at : at + 4] for at in range(8, end, 4)}
        return ".avif" if brands & {b"avif", b"avis"} else None
    if data[:4] == b"RIFF":
        return ".webp" if data[8:12] == b"WEBP" else None
    heads = {b"\xff\xd8": ".jpg", b"\x89PNG\r\n\x1a\n": ".png", b"BM": ".bmp"}
    heads |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ".tif")
    return next((suffix for head, suffix in heads.items() if data.startswith(head)), None)


def decode(data: bytes, suffix: str, check_size: CheckSize) -> tuple[Pixels, Metadata] | None:
    """Return upright pixels and the metadata that fit them, or None for a damaged file.

    Args:
        data: The encoded picture.
        suffix: What ``format_of`` says of it.
        check_size: Called with width and height, as the header has them, before decoding.

    Returns:
        Pixels are HW, or HWC in RGB or RGBA order; of the dtype that the file has.
    """
    readers = {".avif": _read_avif, ".bmp": _read_bmp}
    try:
        pixels, metadata, orientation = readers.get(suffix, _read_vips)(data, suffix, check_size)
        return _turned(pixels, orientation), _upright(data, metadata, pixels, orientation)
    except (pyvips.Error, cv2.error, struct.error):
        return None


def encode(pixels: Pixels, metadata: Metadata, suffix: str, quality: int) -> bytes | None:
    """Return an encoded picture, or None where the format cannot hold its size.

    Metadata that the format cannot hold, or not at this length, are left out.

    Args:
        pixels: HW, or HWC in RGB or RGBA order, uint8; uint16 for ``DEEP``.
        metadata: What to write beside them.
        suffix: Of the format, in lower case.
        quality: Of JPEG, WebP and AVIF, 1 to 100; 100 is lossless in the latter two.
    """
    if suffix in (".webp", ".avif", ".bmp") or os.getpid() != _OWN_PROCESS:
        return _write_opencv(pixels, metadata, suffix, quality)
    x, y = metadata.density or (25.4, 25.4)
    deep, grey = pixels.dtype == np.uint16, pixels.ndim == 2
    space = ("grey16" if deep else "b-w") if grey else ("rgb16" if deep else "srgb")
    image = pyvips.Image.new_from_array(pixels, interpretation=space)
    image = image.copy(xres=x / 25.4, yres=y / 25.4)
    for name, value in metadata.texts.items():
        image.set_type(pyvips.GValue.gstr_type, name, value)
    for name, field_name in _BLOCKS.items():
        if (block := getattr(metadata, name)) is not None and suffix not in TIFF:
            image.set_type(pyvips.GValue.blob_type, field_name, block)
    try:
        if suffix in JPEG:
            encoded: bytes = image.jpegsave_buffer(Q=quality, subsample_mode="off", keep=_KEPT)
            return encoded[:2] + _jpeg_head(metadata) + encoded[2:]
        if suffix == ".png":
            encoded = image.pngsave_buffer(compression=2, filter="up", keep=_KEPT)
            return _with_png_chunks(encoded, metadata)
        encoded = image.tiffsave_buffer(compression="lzw", predictor="horizontal", keep="none")
    except pyvips.Error:
        return None
    return tags.tiff_with(encoded, metadata.exif, metadata.icc, metadata.xmp, metadata.density)


def quality_of(data: bytes, suffix: str) -> int | None:
    """Return the quality, 1 to 100, that an encoded picture was written with.

    100 for lossless WebP and AVIF, None for what does not say. Of a JPEG it is the libjpeg quality
    whose luma quantization table is nearest to that of the file: exact for files of libjpeg, and
    the same loss for those of cameras.
    """
    if suffix == ".jpg":
        table = _luma_table(data)
        if table is None:
            return None
        return int(np.abs(_luma_tables() - table).sum(axis=1).argmin()) + 1
    lossless = suffix == ".webp" and _webp_is_lossless(data)
    # Channels stored as RGB, for which the identity matrix stands, have only lossless files a use.
    lossless |= suffix == ".avif" and re.search(rb"colrnclx.{4}\0\0", data, re.DOTALL) is not None
    return 100 if lossless else None


def _read_vips(data: bytes, suffix: str, check_size: CheckSize) -> Read:
    loader = {".jpg": "jpegload", ".png": "pngload", ".webp": "webpload", ".tif": "tiffload"}
    image = pyvips.Operation.call(
        f"{loader[suffix]}_buffer", data, access="sequential", fail_on="error"
    )
    check_size(image.width, image.height)
    found = {name: image.get(name) for name in image.get_fields()}
    metadata = Metadata(
        tags.exif_of_tiff(data) if suffix == ".tif" else found.get("exif-data"),
        texts={name: text for name, text in found.items() if name.startswith(_TEXT)},
        **{name: found.get(field_name) for name, field_name in _BLOCKS.items()},
    )
    pixels = _read_opencv(data)[0] if suffix == ".webp" else _fetched(image)
    if image.interpretation == "cmyk":
        pixels = _rgb_of_cmyk(pixels)
    return pixels, metadata, found.get("orientation", 1)


def _fetched(image: pyvips.Image) -> Pixels:
    """Decode in this thread, because a forked process has none of those of libvips."""
    dtype = np.dtype(FORMAT_TO_TYPESTR[image.format])
    pixels = np.empty((image.height, image.width, image.bands), dtype)
    region = pyvips.Region.new(image)
    for top in range(0, image.height, _ROWS):
        rows = pixels[top : top + _ROWS]
        found = region.fetch(0, top, image.width, len(rows))
        rows[:] = np.frombuffer(found, dtype).reshape(rows.shape)
    return pixels[..., 0] if image.bands == 1 else pixels


def _read_avif(data: bytes, suffix: str, check_size: CheckSize) -> Read:
    """Read what OpenCV leaves out from the boxes of the file (ISO/IEC 23008-12)."""
    sizes = [struct.unpack(">II", size) for size in _boxes(data, rb"\x14ispe.{4}(.{8})")]
    check_size(*max(sizes, key=lambda size: size[0] * size[1], default=(0, 0)))
    depth = max((ord(bits) for bits in _boxes(data, rb"pixi.{5}(.)")), default=8)
    turns = _boxes(data, rb"\x09irot(.)") or [b"\0"]
    mirror = _boxes(data, rb"\x09imir(.)")
    orientations = ((4, 5, 2, 7), (2, 7, 4, 5))[ord(mirror[0]) & 1] if mirror else (1, 8, 3, 6)
    pixels, metadata = _read_opencv(data)
    if pixels.dtype == np.uint16 and depth < 16:
        pixels = np.rint(pixels * np.float32(65535 / (2**depth - 1))).astype(np.uint16)
    profile = re.search(rb"(.{4})colr(?:prof|rICC)", data, re.DOTALL)
    if profile is not None:
        icc = data[profile.end() : profile.start() + int.from_bytes(profile[1], "big")]
        metadata = dataclasses.replace(metadata, icc=icc)
    return pixels, metadata, orientations[ord(turns[0]) & 3]


def _read_bmp(data: bytes, suffix: str, check_size: CheckSize) -> Read:
    old = struct.unpack_from("<I", data, 14) == (12,)  # of OS/2
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    check_size(abs(width), abs(height))
    return *_read_opencv(data), 1


def _read_opencv(data: bytes) -> tuple[Pixels, Metadata]:
    pixels, kinds, blocks = cv2.imdecodeWithMetadata(
        np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
    )
    if pixels is None:
        raise cv2.error("no picture")
    found = {int(kind): block.tobytes() for kind, block in zip(kinds, blocks, strict=True)}
    exif, xmp = (found.get(kind) for kind in (cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_XMP))
    if pixels.ndim == 3:
        code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        pixels = cv2.cvtColor(pixels, code)
    return pixels, Metadata(exif, xmp=xmp and xmp.rstrip(b"\0"))


def _upright(data: bytes, metadata: Metadata, pixels: Pixels, orientation: int) -> Metadata:
    """Return the metadata for pixels that have been turned and derained."""
    exif = metadata.exif and metadata.exif.removeprefix(b"Exif\0\0")
    density = _stated_density(data) or (tags.density_of(exif) if exif else None)
    if density is not None and orientation >= 5:
        density = density[::-1]
    # A CMYK file is decoded to RGB, and its profile would then be wrong.
    grey = pixels.ndim == 2 or pixels.shape[2] == 2
    space = b"GRAY" if grey else b"RGB "
    return dataclasses.replace(
        metadata,
        exif=exif and tags.upright(exif),
        icc=metadata.icc if metadata.icc and metadata.icc[16:20] == space else None,
        xmp=metadata.xmp and _XMP_ORIENTATION.sub(rb"\g<1>1", metadata.xmp),
        density=density,
    )


def _stated_density(data: bytes) -> tags.Density | None:
    """Return what the header says; libvips does not tell 72 dots an inch from nothing said."""
    if data[:2] in (b"II", b"MM"):
        return tags.density_of(data)
    x, y, scale = 0, 0, 1 / _METRE
    if jfif := re.match(rb"\xff\xd8\xff\xe0..JFIF\0..([\1\2])(....)", data, re.DOTALL):
        scale = 1.0 if jfif[1] == b"\1" else 2.54
        x, y = struct.unpack(">HH", jfif[2])
    elif data[:2] == b"BM" and data[14] >= 40:
        x, y = struct.unpack_from("<ii", data, 38)
    elif data[:4] == b"\x89PNG" and (
        stated := re.search(rb"\0\0\0\x09pHYs(.{8})\x01", data[: data.find(b"IDAT")], re.DOTALL)
    ):
        x, y = struct.unpack(">II", stated[1])
    return tags.plausible(x * scale, y * scale)


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn or mirror pixels as an EXIF orientation of 1 to 8 asks (CIPA DC-008)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _rgb_of_cmyk(pixels: Pixels) -> Pixels:
    """Return what a printer would mix, without the profile, as OpenCV does."""
    light, key = 255 - pixels[..., :3].astype(np.int32), 255 - pixels[..., 3:].astype(np.int32)
    return (key - ((255 - light) * key >> 8)).astype(np.uint8)


def _boxes(data: bytes, pattern: bytes) -> list[bytes]:
    return re.findall(pattern, data, re.DOTALL)


def _write_opencv(pixels: Pixels, metadata: Metadata, suffix: str, quality: int) -> bytes | None:
    flags = []
    if suffix in JPEG:
        full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    elif suffix == ".webp":
        flags = [cv2.IMWRITE_WEBP_QUALITY, quality if quality < 100 else _LOSSLESS_WEBP]
    elif suffix == ".avif":
        deep = pixels.dtype == np.uint16
        flags = [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_DEPTH, 12 if deep else 8]
        if deep:
            pixels = np.rint(pixels * np.float32(_AVIF_PEAK / 65535)).astype(np.uint16)
    if pixels.ndim == 3:
        code = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        pixels = cv2.cvtColor(pixels, code)
    exif, density = metadata.exif, metadata.density
    if exif is None and density is not None:
        exif = tags.exif_of_density(density)
    kinds = (cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP, cv2.IMAGE_METADATA_XMP)
    blocks = {k: b for k, b in zip(kinds, (exif, metadata.icc, metadata.xmp), strict=True) if b}
    try:
        if suffix == ".bmp":
            encoded = cv2.imencode(suffix, pixels)[1].tobytes()
            stated = struct.pack("<ii", *_metres(density)) if density else encoded[38:46]
            return encoded[:38] + stated + encoded[46:]
        contents = [np.frombuffer(block, np.uint8) for block in blocks.values()]
        done, buffer = cv2.imencodeWithMetadata(suffix, pixels, list(blocks), contents, flags)
    except cv2.error:
        return None
    return buffer.tobytes() if done else None


def _jpeg_head(metadata: Metadata) -> bytes:
    """Return the JFIF segment and that of EXIF, if it fits into one."""
    unit, x, y = 0, 1, 1
    if metadata.density is not None:
        unit, (x, y) = 1, map(round, metadata.density)
    head = struct.pack(">HH5sHBHHH", 0xFFE0, 16, b"JFIF\0", 0x0101, unit, x, y, 0)
    exif = b"Exif\0\0" + (metadata.exif or b"")
    if metadata.exif is not None and len(exif) + 2 < 1 << 16:
        head += struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif
    return head


def _with_png_chunks(encoded: bytes, metadata: Metadata) -> bytes:
    """Put in the EXIF block, and take out the density that libvips makes up where there is none."""
    body = encoded[_PNG_HEAD:]
    if metadata.density is None:
        at = body.index(b"pHYs") - 4
        body = body[:at] + body[at + 21 :]
    if metadata.exif is None:
        return encoded[:_PNG_HEAD] + body
    content = b"eXIf" + metadata.exif
    chunk = struct.pack(">I", len(metadata.exif)) + content + struct.pack(">I", zlib.crc32(content))
    return encoded[:_PNG_HEAD] + chunk + body


def _metres(density: tags.Density) -> tuple[int, int]:
    return round(density[0] * _METRE), round(density[1] * _METRE)


def _luma_table(data: bytes) -> NDArray[np.int64] | None:
    """Return the 64 luma steps of a JPEG file, or None where the header ends before them."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xFF:  # a marker may be padded with any number of FF
            at += 1
            continue
        if marker == _START_OF_SCAN:
            return None
        content = data[at + 4 : at + 2 + length]
        while marker == _QUANTIZATION and content:
            deep, number = content[0] >> 4, content[0] & 15
            table = np.frombuffer(content[1 : 129 if deep else 65], ">u2" if deep else "u1")
            if number == 0 and table.size == 64:
                return table.astype(np.int64)
            content = content[129 if deep else 65 :]
        at += 2 + length
    return None


@functools.cache
def _luma_tables() -> NDArray[np.int64]:
    """Return the 64 luma steps of each quality from 1 to 100 as libjpeg scales them: 100 x 64.

    At 50 it writes the table of ITU-T T.81, K.1, as it is.
    """
    _, plainest = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 50])
    plain = _luma_table(plainest.tobytes())
    assert plain is not None
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((plain * scale + 50) // 100, 1, 255)


def _webp_is_lossless(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8L")
        # Frames of an animation are chunks inside a chunk, behind 16 bytes of their own.
        at += 24 if kind == b"ANMF" else 8 + length + length % 2
    return False
