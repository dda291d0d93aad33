"""Pictures, read and written: upright, in RGB order, with alpha, bit depth and metadata.

What else a file says is kept wherever the format that is written holds it; ``notes_on`` tells what
it does not.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ImageError
from edge_runtime.files import write_atomically
from edge_runtime.pictures import tags
from edge_runtime.pictures.formats import (
    ANIMATED,
    DEEP,
    JPEG,
    OPAQUE,
    PHOTOSHOP,
    SEGMENT,
    TIFF,
    DamagedError,
    decode,
    encode,
    segments,
)
from edge_runtime.pictures.sources import SUFFIXES
from edge_runtime.pictures.tags import Metadata, Timing

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded, unless told otherwise."""
QUALITY = 95
"""Quality of JPEG, WebP and AVIF, 1 to 100, where neither user nor input says one."""

_QUANTIZATION = 0xDB  # marker of a segment of a JPEG


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, upright.

    Attributes:
        rgb: HWC uint8 (0..255) or uint16 (0..65535) RGB; three equal channels when grey.
        alpha: HW of the same dtype, or None where the file has no transparency.
        grey: Whether the file has one channel; it is written with one again.
        metadata: What else the file says, for pixels that are upright.
        format: Suffix of the format that it was read from, such as ``'.jpg'``.
        quality: That it was written with, 1 to 100, as far as the file tells: JPEG by its tables,
            100 for lossless WebP and AVIF. None where it does not.
    """

    rgb: NDArray[Any]
    alpha: NDArray[Any] | None = None
    grey: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    format: str | None = None
    quality: int | None = None


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a JPEG, PNG, WebP, TIFF, BMP or AVIF file; of an animation, the first frame.

    What counts is the content, not the suffix.

    Raises:
        ImageError: The file is missing, or ``decode_picture`` refuses what is in it.
    """
    return decode_picture(read_file(Path(path)), str(path), max_pixels=max_pixels)


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


def decode_picture(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the first picture of a file in memory, as ``decode_pictures`` does."""
    return next(decode_pictures(data, name, max_pixels=max_pixels))


def decode_pictures(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Iterator[Picture]:
    """Decode the pages or frames of a file in memory, one by one; most files have one.

    Args:
        data: The encoded picture.
        name: What errors call it.
        max_pixels: A file with a larger page is refused before that is decoded.

    Raises:
        ImageError: The data are empty, not a picture that can be read, larger than allowed, or
            have pixels of other than 8 or 16 bits.
    """
    if not data:
        raise ImageError(f"{name}: is empty; copy it again")

    def check_size(width: int, height: int) -> None:
        if width * height > max_pixels:
            raise ImageError(
                f"{name}: {width} x {height} is more than {_amount(max_pixels)}; "
                "allow it with --max-pixels, or reduce or split it"
            )

    suffix = format_of(data)
    if suffix is None or (suffix == ".tif" and data[8:10] == b"CR"):
        from edge_runtime.pictures.foreign import what_it_is

        raise ImageError(f"{name}: {what_it_is(data)}")
    quality, found = quality_of(data, suffix), None
    try:
        for found in decode(data, suffix, check_size):
            yield _picture(name, *found, suffix, quality)
    except DamagedError:
        raise ImageError(
            f"{name}: not a picture that can be read; it is damaged, copy it again"
        ) from None
    if found is None:
        from edge_runtime.pictures.foreign import RAW

        raise ImageError(f"{name}: {RAW}")


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
    lossless = False
    if suffix == ".webp":
        from edge_runtime.pictures import chunks

        lossless = chunks.webp_is_lossless(data)
    # Channels stored as RGB, for which the identity matrix stands, have only lossless files a use.
    lossless |= suffix == ".avif" and re.search(rb"colrnclx.{4}\0\0", data, re.DOTALL) is not None
    return 100 if lossless else None


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, quality: int | None = None
) -> None:
    """Encode a picture in the format that the suffix names and replace ``path`` atomically.

    Raises:
        ImageError: The suffix is unknown, or ``encode_picture`` or ``write_file`` refuses.
    """
    path = Path(path)
    write_file(path, encode_picture(picture, check_suffix(path), str(path), quality=quality))


def write_file(path: Path, data: bytes) -> None:
    """Replace ``path`` atomically, or raise ImageError: no such folder, read-only, disk full."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from None


def encode_picture(
    picture: Picture, suffix: str, name: str, *, quality: int | None = None
) -> bytes:
    """Encode a picture in the format that ``suffix`` names.

    JPEG is written without chroma subsampling. JPEG, WebP and BMP hold 8 bits: 16-bit pictures
    are rounded for them, and to 12 bits for AVIF. JPEG and BMP hold no transparency: alpha is
    dropped where it is opaque everywhere, and refused otherwise.

    Args:
        picture: What to write.
        suffix: One of ``SUFFIXES``.
        name: What errors call the file.
        quality: Of JPEG, WebP and AVIF, 1 to 100; 100 is lossless in WebP and AVIF. None takes
            that of ``picture``, or else ``QUALITY``.

    Raises:
        ImageError: Quality out of range, transparency or a size that the format cannot hold.
    """
    if quality is None:
        quality = QUALITY if picture.quality is None else picture.quality
    if not 1 <= quality <= 100:
        raise ImageError(f"quality must be from 1 to 100, got {quality}")
    colour = picture.metadata.colour
    if colour is not None and colour.hdr and suffix not in (".png", ".avif"):
        raise ImageError(
            f"{name}: is HDR ({colour.hdr}), which {suffix} cannot hold; use --format avif or png"
        )
    pixels = _file_pixels(name, suffix, picture)
    data = encode(pixels, picture.metadata, suffix, quality)
    if data is None:
        height, width = picture.rgb.shape[:2]
        raise ImageError(f"{name}: {suffix} cannot hold {width} x {height} pixels; use .png")
    return data


def join_pictures(
    files: list[tuple[bytes, Timing | None]], picture: Picture, suffix: str, name: str
) -> bytes:
    """Return one file of several pages or frames, for a format of which ``holds_pages`` is true.

    Args:
        files: What ``encode_picture`` made of each, and how long it is shown; the list is emptied.
        picture: One of them: frames are of one size and kind, pages need not be.
        suffix: Of the format.
        name: What errors call the file.

    Raises:
        ImageError: They are too large together.
    """
    parts = [part for part, _ in files]
    timings = [timing for _, timing in files if timing is not None]
    files.clear()
    height, width = picture.rgb.shape[:2]
    try:
        if suffix in TIFF:
            return tags.join_tiffs(parts)
        from edge_runtime.pictures import chunks

        if suffix == ".png":
            return chunks.join_png(parts, timings)
        return chunks.join_webp(parts, timings, width, height)
    except struct.error:
        raise ImageError(f"{name}: {suffix} cannot hold so many pages; split it") from None


def notes_on(metadata: Metadata, suffix: str) -> list[str]:
    """Return what a file loses on its way into a format: a line for each kind, with a remedy."""
    notes = [f"left out: {each}" for each in metadata.lost]
    if not holds_pages(metadata, suffix):
        kind, better = ("pages", "tif") if metadata.timing is None else ("frames", "webp")
        rest = f"{metadata.pages - 1} of {metadata.pages} {kind}"
        notes.append(f"left out: {rest}, since {suffix} holds one; use --format {better}")
    if names := ", ".join(_homeless(metadata, suffix)):
        notes.append(f"left out: {names}, since {suffix} cannot hold that; keep the format")
    return notes


def _homeless(metadata: Metadata, suffix: str) -> list[str]:
    """Return what ``encode`` leaves out of metadata for a format, named in a few words each."""
    plain = suffix == ".bmp"
    most = {"EXIF": SEGMENT - 6, "XMP": SEGMENT - 29, "IPTC": SEGMENT - len(PHOTOSHOP)}
    blocks = {"EXIF": metadata.exif, "XMP": metadata.xmp, "IPTC": metadata.iptc}
    names = []
    for name, block in blocks.items():
        homeless = plain or (name == "IPTC" and suffix not in (*JPEG, *TIFF))
        if block and (homeless or (suffix in JPEG and len(block) > most[name])):
            names.append(name)
    if plain and (metadata.icc or metadata.colour):
        names.insert(0, "colour profile")
    kinds = {kind for kind, _ in metadata.own}
    names += ["comment"] * (b"" in kinds and suffix not in JPEG)
    names += ["texts"] * (any(kind.endswith(b"Xt") for kind in kinds) and suffix != ".png")
    return names + ["times of frames"] * (metadata.timing is not None and suffix in TIFF)


def holds_pages(metadata: Metadata, suffix: str) -> bool:
    """Return whether a format holds all pages or frames of a file, or the file has but one."""
    animated = metadata.timing is not None and suffix in ANIMATED
    return metadata.pages == 1 or suffix in TIFF or animated


def check_suffix(path: Path) -> str:
    """Return the suffix in lower case, or raise ImageError when nothing can be written under it."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(f"{path}: cannot write {suffix or 'no suffix'}; use {', '.join(SUFFIXES)}")
    return suffix


def read_file(path: Path) -> bytes:
    """Return the content of a regular file, or raise ImageError."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{path}: is a folder; name a picture in it")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path}: is not a regular file; copy the picture to one")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the name") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None


def _amount(pixels: int) -> str:
    return f"{pixels / 10**6:g} megapixels" if pixels >= 10**6 else f"{pixels} pixels"


def _picture(
    name: str, pixels: NDArray[Any], metadata: Metadata, suffix: str, quality: int | None
) -> Picture:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name}: pixels are {pixels.dtype}; convert it to 8 or 16 bits a channel")
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = np.ascontiguousarray(pixels[..., -1]) if bands in (2, 4) else None
    if bands < 3:
        rgb = cv2.cvtColor(pixels if bands == 1 else pixels[..., 0], cv2.COLOR_GRAY2RGB)
    else:
        rgb = pixels if bands == 3 else np.ascontiguousarray(pixels[..., :3])
    return Picture(rgb, alpha, bands == 1, metadata, suffix, quality)


def _file_pixels(name: str, suffix: str, picture: Picture) -> NDArray[Any]:
    """Return the pixels as files of ``suffix`` hold them: alpha, 8 or 16 bits."""
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None and suffix in OPAQUE:
        if (alpha != np.iinfo(alpha.dtype).max).any():
            raise ImageError(
                f"{name}: {suffix} cannot hold transparency; use .png, .webp, .tif or .avif"
            )
        alpha = None
    if alpha is not None:
        pixels = np.dstack([rgb, alpha])
    elif picture.grey:
        pixels = np.rint(rgb.mean(axis=2)).astype(rgb.dtype)
    else:
        pixels = np.ascontiguousarray(rgb)
    if pixels.dtype == np.uint16 and suffix not in DEEP:
        pixels = np.rint(pixels / np.float32(257)).astype(np.uint8)
    return pixels


def _luma_table(data: bytes) -> NDArray[np.int64] | None:
    """Return the 64 luma steps of a JPEG file, or None where the header ends before them."""
    for marker, _, content in segments(data):
        while marker == _QUANTIZATION and content:
            deep, number = content[0] >> 4, content[0] & 15
            table = np.frombuffer(content[1 : 129 if deep else 65], ">u2" if deep else "u1")
            if number == 0 and table.size == 64:
                return table.astype(np.int64)
            content = content[129 if deep else 65 :]
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
