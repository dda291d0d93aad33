"""Pictures, read and written: upright, in RGB order, with alpha, bit depth and metadata.

EXIF, ICC profile, XMP and pixels an inch are kept wherever the format that is written holds them.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ImageError
from edge_runtime.files import write_atomically
from edge_runtime.pictures.formats import (
    DEEP,
    OPAQUE,
    Metadata,
    decode,
    encode,
    format_of,
    quality_of,
)
from edge_runtime.pictures.sources import SUFFIXES

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded, unless told otherwise."""
QUALITY = 95
"""Quality of JPEG, WebP and AVIF, 1 to 100, where neither user nor input says one."""


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


def decode_picture(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a picture in memory, as ``read_picture`` does.

    Args:
        data: The encoded picture.
        name: What errors call it.
        max_pixels: Larger pictures are refused before they are decoded.

    Raises:
        ImageError: The data are empty, not a picture that can be read, larger than allowed, or
            have pixels of other than 8 or 16 bits.
    """
    if not data:
        raise ImageError(f"{name}: is empty; copy it again")

    def check_size(width: int, height: int) -> None:
        if width * height > max_pixels:
            raise ImageError(
                f"{name}: {width} x {height} is more than {max_pixels / 10**6:g} megapixels; "
                "allow it with --max-pixels, or reduce or split it"
            )

    suffix = format_of(data)
    decoded = None if suffix is None else decode(data, suffix, check_size)
    if suffix is None or decoded is None:
        raise ImageError(f"{name}: not a picture that can be read; it is damaged or no picture")
    pixels, metadata = decoded
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name}: pixels are {pixels.dtype}; convert it to 8 or 16 bits a channel")
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = np.ascontiguousarray(pixels[..., -1]) if bands in (2, 4) else None
    if bands < 3:
        rgb = cv2.cvtColor(pixels if bands == 1 else pixels[..., 0], cv2.COLOR_GRAY2RGB)
    else:
        rgb = pixels if bands == 3 else np.ascontiguousarray(pixels[..., :3])
    return Picture(rgb, alpha, bands == 1, metadata, suffix, quality_of(data, suffix))


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, quality: int | None = None
) -> None:
    """Encode a picture in the format that the suffix names and replace ``path`` atomically.

    Raises:
        ImageError: The suffix is unknown, ``encode_picture`` refuses, or the file cannot be
            written (no such folder, read-only, disk full).
    """
    path = Path(path)
    data = encode_picture(picture, check_suffix(path), str(path), quality=quality)
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
    pixels = _file_pixels(name, suffix, picture)
    data = encode(pixels, picture.metadata, suffix, quality)
    if data is None:
        height, width = picture.rgb.shape[:2]
        raise ImageError(f"{name}: {suffix} cannot hold {width} x {height} pixels; use .png")
    return data


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
