"""Formats of picture files: encoded bytes to upright pixels with all that the file says, and back.

libvips reads and writes JPEG, PNG and TIFF, and ``opencv`` the others: BMP, which libvips does not
know; AVIF, where libvips reads coarser chroma and no sequences; WebP, which libvips reads with
threads and writes without maker notes. libvips writes EXIF anew everywhere, so the block is
put as it is into JPEG and PNG here, and its tags into TIFF.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pyvips
from pyvips.vimage import FORMAT_TO_TYPESTR

from edge_runtime.pictures import tags
from edge_runtime.pictures.tags import CheckSize, Metadata, Pixels, Read

JPEG, TIFF = (".jpg", ".jpeg"), (".tif", ".tiff")
DEEP = (".png", *TIFF, ".avif")
"""Suffixes of the formats that hold more than 8 bits a channel."""
OPAQUE = (*JPEG, ".bmp")
"""Suffixes of those that hold no transparency."""
ANIMATED = (".png", ".webp")
"""Suffixes of those that are written with several frames; TIFF is with pages."""

_OWN_PROCESS = os.getpid()
"""One that is forked from it has none of the threads with which libvips writes."""
_ROWS = 16  # decoded at once
_START_OF_SCAN, _END, _COMMENT = 0xDA, b"\xff\xd9", 0xFE
CLIP, BEHIND = "video clip", "data behind the picture"
"""Names of what a JPEG may have, no result has, and nobody could make again."""
PHOTOSHOP = b"Photoshop 3.0\0"
_KEPT = "icc|xmp|iptc"
SEGMENT = 65_533  # bytes that one of a JPEG holds
_MPF_ENTRIES = 0xB002
_PHOTOSHOP_THUMBNAILS = (0x0409, 0x040C)
_THUMBNAILS = (0x10001, 0x10002)  # kinds of pictures in an MPO (CIPA DC-007)
_GAIN_MAP = re.compile(rb"(?i)gain-?map|photo:2020:aux|iso:ts:21496")
_IS_CLIP = re.compile(rb"ftyp(?:iso|mp4|avc|qt  |MSNV|3gp)")
_WORTH_TELLING = 4096  # bytes behind the end of a JPEG; cameras put a few hundred there
_HARMLESS = re.compile(r"Corrupt JPEG data: \d{1,2} extraneous bytes before marker 0xd9")


class DamagedError(Exception):
    """A file that cannot be decoded, or not to its end."""


def decode(data: bytes, suffix: str, check_size: CheckSize) -> Iterator[tuple[Pixels, Metadata]]:
    """Yield upright pixels and the metadata that fit them, of each page or frame of a file.

    Args:
        data: The encoded picture.
        suffix: That ``picture.format_of`` gives it.
        check_size: Called with width and height, as the header has them, before decoding.

    Yields:
        Pixels are HW, or HWC in RGB or RGBA order; of the dtype that the file has.

    Raises:
        DamagedError: The file is.
    """
    try:
        for pixels, metadata, orientation in _pages(data, suffix, check_size):
            yield _turned(pixels, orientation), _upright(metadata, pixels, orientation)
    except (pyvips.Error, cv2.error, struct.error, KeyError) as error:
        raise DamagedError(str(error)) from None


def encode(pixels: Pixels, metadata: Metadata, suffix: str, quality: int) -> bytes | None:
    """Return an encoded picture, or None where the format cannot hold its size.

    What the format cannot hold, or not at this length, is left out: see ``picture.notes_on``.

    Args:
        pixels: HW, or HWC in RGB or RGBA order, uint8; uint16 for ``DEEP``.
        metadata: What to write beside them.
        suffix: Of the format, in lower case.
        quality: Of JPEG, WebP and AVIF, 1 to 100; 100 is lossless in the latter two.
    """
    metadata = _with_colour(metadata, suffix, grey=pixels.ndim == 2)
    if suffix in (".webp", ".avif", ".bmp") or os.getpid() != _OWN_PROCESS:
        from edge_runtime.pictures import opencv

        return opencv.write(pixels, metadata, suffix, quality)
    x, y = metadata.density or (25.4, 25.4)
    deep, grey = pixels.dtype == np.uint16, pixels.ndim == 2
    space = ("grey16" if deep else "b-w") if grey else ("rgb16" if deep else "srgb")
    image = pyvips.Image.new_from_array(pixels, interpretation=space)
    image = image.copy(xres=x / 25.4, yres=y / 25.4)
    if suffix not in TIFF:
        blocks = {"icc-profile-data": metadata.icc, "xmp-data": metadata.xmp}
        blocks["iptc-data"] = metadata.iptc and PHOTOSHOP + metadata.iptc
        for name, block in blocks.items():
            if block is not None and (suffix in JPEG or name != "iptc-data"):
                image.set_type(pyvips.GValue.blob_type, name, block)
    try:
        if suffix in JPEG:
            encoded: bytes = image.jpegsave_buffer(Q=quality, subsample_mode="off", keep=_KEPT)
            return encoded[:2] + _jpeg_head(metadata) + encoded[2:]
        if suffix == ".png":
            encoded = image.pngsave_buffer(compression=2, filter="up", keep=_KEPT)
            from edge_runtime.pictures import chunks

            return chunks.with_chunks(encoded, metadata)
        encoded = image.tiffsave_buffer(compression="lzw", predictor="horizontal", keep="none")
    except pyvips.Error:
        return None
    return tags.tiff_with(
        encoded, metadata.exif, metadata.icc, metadata.xmp, metadata.iptc, metadata.density
    )


def _pages(data: bytes, suffix: str, check_size: CheckSize) -> Iterator[Read]:
    if suffix == ".tif":
        pages = tags.directories(data)
        for number, at in pages.items():
            exif, blocks = tags.exif_of_tiff(data, at), tags.photoshop_of_tiff(data, at)
            said = Metadata(exif, iptc=blocks, density=tags.density_of(data, at), pages=len(pages))
            yield _read_vips(data, suffix, check_size, said, number)
    elif suffix == ".jpg":
        said, others = _jpeg_says(data)
        yield _read_vips(data, suffix, check_size, said)
        for part in others:
            yield _read_vips(part, suffix, check_size, _jpeg_says(part)[0])
    elif suffix == ".png":
        from edge_runtime.pictures import chunks

        said = chunks.png_says(data)
        if said.pages > 1:
            yield from _read_frames(data, suffix, check_size, said)
        else:
            yield _read_vips(data, suffix, check_size, said)
    else:
        from edge_runtime.pictures import opencv

        if suffix == ".avif":
            yield from opencv.read_avif(data, check_size)
        elif suffix == ".bmp":
            yield opencv.read_bmp(data, check_size)
        else:
            yield from _read_frames(data, suffix, check_size, Metadata())


def _read_frames(data: bytes, suffix: str, check_size: CheckSize, said: Metadata) -> Iterator[Read]:
    """Read what OpenCV decodes and libvips knows the metadata of: WebP, and animated PNG."""
    from edge_runtime.pictures import opencv

    image, metadata, orientation = _opened(data, suffix, check_size, said)
    if suffix == ".webp" and image.get_typeof("n-pages"):
        metadata = dataclasses.replace(metadata, pages=image.get("n-pages"))
    if metadata.pages == 1:
        yield opencv.read_pixels(data)[0], metadata, orientation
        return
    for pixels, timing in opencv.read_frames(data, metadata.pages, image.width, image.height):
        yield pixels, dataclasses.replace(metadata, timing=timing), orientation


def _read_vips(
    data: bytes, suffix: str, check_size: CheckSize, said: Metadata, page: int = 0
) -> Read:
    """Read one page; of a JPEG also what libjpeg warns of, if that harms nothing."""
    limits = ("warning", "error") if suffix == ".jpg" else ("error",)
    for limit in limits:
        try:
            image, metadata, orientation = _opened(data, suffix, check_size, said, page, limit)
            pixels = _fetched(image)
            break
        except pyvips.Error as error:
            if limit == limits[-1] or "Corrupt JPEG data" in _HARMLESS.sub("", str(error)):
                raise
    if image.interpretation == "cmyk":
        from edge_runtime.pictures import opencv

        pixels = opencv.rgb_of_cmyk(pixels)
    return pixels, metadata, orientation


def _opened(
    data: bytes,
    suffix: str,
    check_size: CheckSize,
    said: Metadata,
    page: int = 0,
    limit: str = "error",
) -> tuple[pyvips.Image, Metadata, int]:
    loader = {".jpg": "jpegload", ".png": "pngload", ".webp": "webpload", ".tif": "tiffload"}
    options = {"page": page} if page else {}
    image = pyvips.Operation.call(
        f"{loader[suffix]}_buffer", data, access="sequential", fail_on=limit, **options
    )
    check_size(image.width, image.height)
    found = {name: image.get(name) for name in image.get_fields()}
    metadata = dataclasses.replace(
        said,
        exif=said.exif if suffix == ".tif" else found.get("exif-data"),
        icc=found.get("icc-profile-data"),
        xmp=found.get("xmp-data"),
    )
    return image, metadata, found.get("orientation", 1)


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


def _upright(metadata: Metadata, pixels: Pixels, orientation: int) -> Metadata:
    """Return the metadata for pixels that have been turned and derained."""
    exif = metadata.exif and metadata.exif.removeprefix(b"Exif\0\0")
    if exif and exif[:4] not in (b"II*\0", b"MM\0*"):  # which no encoder takes
        exif = None
    density = metadata.density or (tags.density_of(exif) if exif else None)
    if density is not None and orientation >= 5:
        density = density[::-1]
    # A CMYK file is decoded to RGB, and its profile would then be wrong.
    grey = pixels.ndim == 2 or pixels.shape[2] == 2
    space = b"GRAY" if grey else b"RGB "
    return dataclasses.replace(
        metadata,
        exif=exif and tags.upright(exif),
        icc=metadata.icc if metadata.icc and metadata.icc[16:20] == space else None,
        xmp=metadata.xmp and tags.clean_xmp(metadata.xmp),
        iptc=(metadata.iptc and _clean_photoshop(metadata.iptc)) or None,
        density=density,
    )


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn or mirror pixels as an EXIF orientation of 1 to 8 asks (CIPA DC-008)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _clean_photoshop(blocks: bytes) -> bytes:
    """Return blocks of Photoshop without thumbnails, which show the picture as it was."""
    kept, at = [], 0
    while blocks[at : at + 4] == b"8BIM" and at + 12 <= len(blocks):
        (number,) = struct.unpack_from(">H", blocks, at + 4)
        name = at + 6 + blocks[at + 6] // 2 * 2 + 2
        if name + 4 > len(blocks):
            break
        (size,) = struct.unpack_from(">I", blocks, name)
        end = name + 4 + size + size % 2
        if number not in _PHOTOSHOP_THUMBNAILS:
            kept.append(blocks[at:end])
        at = end
    return b"".join(kept)


def segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield marker, place and content of each segment of a JPEG, up to that of the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xFF:  # a marker may be padded with any number of FF
            at += 1
            continue
        yield marker, at + 4, data[at + 4 : at + 2 + length]
        if marker == _START_OF_SCAN:
            return
        at += 2 + length


def _jpeg_says(data: bytes) -> tuple[Metadata, list[bytes]]:
    """Return what the segments of a JPEG say, and the further pictures of an MPO."""
    own, lost, blocks, at = [], set(), b"", len(data)
    density, parts = None, []
    for marker, at, content in segments(data):
        if marker == _COMMENT:
            own.append((b"", content))
        elif marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, x, y = struct.unpack_from(">7xBHH", content)
            scale = {1: 1.0, 2: 2.54}.get(unit, 0.0)
            density = tags.plausible(x * scale, y * scale)
        elif marker == 0xED and content.startswith(PHOTOSHOP):
            blocks += content.removeprefix(PHOTOSHOP)
        elif content.startswith(b"http://ns.adobe.com/xmp/extension/"):
            lost.add("extended XMP")
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            parts = [data[start:end] for start, end in _mpf(content[4:], at + 4)]
        elif marker == 0xEB and b"jumb" in content[:40]:
            lost.add("content credentials (C2PA)")
    end = data.find(_END, at) + 2
    behind = data[end:] if end > 1 else b""
    if _IS_CLIP.search(behind):
        lost.add(CLIP)
    elif not parts and not _GAIN_MAP.search(behind) and len(behind.strip(b"\0")) > _WORTH_TELLING:
        lost.add(BEHIND)
    if _GAIN_MAP.search(behind):
        lost.add("gain map")
    others = [part for part in parts if part[:2] == b"\xff\xd8" and not _GAIN_MAP.search(part)]
    said = Metadata(
        iptc=blocks or None,
        density=density,
        own=tuple(own),
        lost=tuple(sorted(lost)),
        pages=1 + len(others),
    )
    return said, others


def _mpf(index: bytes, base: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each picture that an MPO has beside its first and its thumbnails."""
    entries = tags.read_tags(index).get(_MPF_ENTRIES, tags.Tag(7)).value
    order = "<" if index[:2] == b"II" else ">"
    for at in range(16, len(entries) - 15, 16):
        kind, size, start = struct.unpack_from(order + "III", entries, at)
        if kind & 0xFFFFFF not in _THUMBNAILS:
            yield base + start, base + start + size


def _with_colour(metadata: Metadata, suffix: str, *, grey: bool) -> Metadata:
    """Return metadata with the colour said as the format can: in numbers, or by a profile."""
    colour = metadata.colour
    kept = suffix == ".png" and metadata.own != ()
    if colour is None or kept or metadata.icc is not None:
        return metadata
    if colour.codes is not None and suffix in (".png", ".avif"):
        return dataclasses.replace(
            metadata, own=((b"cICP", bytes([*colour.codes, 0, 1])), *metadata.own)
        )
    return dataclasses.replace(metadata, icc=colour.profile(grey=grey))


def _jpeg_head(metadata: Metadata) -> bytes:
    """Return the segments of JFIF, comments and EXIF, as far as they fit into one each."""
    unit, x, y = 0, 1, 1
    if metadata.density is not None:
        unit, (x, y) = 1, map(round, metadata.density)
    contents = [(0xE0, struct.pack(">5sHBHHH", b"JFIF\0", 0x0101, unit, x, y, 0))]
    if metadata.exif is not None:
        contents.append((0xE1, b"Exif\0\0" + metadata.exif))
    contents += [(_COMMENT, content) for kind, content in metadata.own if kind == b""]
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in contents
        if len(content) <= SEGMENT
    )
