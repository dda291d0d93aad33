"""Read and write pictures: upright, in RGB order, with alpha, bit depth, EXIF and colour profile.

EXIF and ICC profile are kept where OpenCV can read and write them: in JPEG, PNG and WebP. Those of
TIFF and BMP are dropped.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.atomic import write_atomically
from edge_runtime.errors import ImageError
from edge_runtime.metadata import (
    exif_orientation,
    picture_size,
    profile_fits,
    turn_upright,
    upright_exif,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""Suffixes, in lower case, of the files that can be both read and written."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded."""
QUALITY = 95
"""Default quality of JPEG and WebP, 1 to 100."""

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_DEEP_SUFFIXES = (".png", ".tif", ".tiff")  # the ones that hold 16 bits a channel
_METADATA_SUFFIXES = (*_JPEG_SUFFIXES, ".png", ".webp")
_EXIF, _ICC = cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, upright.

    Attributes:
        rgb: HWC uint8 (0..255) or uint16 (0..65535) RGB; three equal channels when grey.
        alpha: HW of the same dtype, or None where the file has no transparency.
        grey: Whether the file has one channel; it is written with one again.
        exif: The EXIF block, its orientation already set to upright, or None.
        icc: The ICC profile that ``rgb`` is to be read with, or None.
    """

    rgb: NDArray[Any]
    alpha: NDArray[Any] | None = None
    grey: bool = False
    exif: bytes | None = None
    icc: bytes | None = None


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Decode a JPEG, PNG, WebP, TIFF or BMP file; of an animation, the first frame.

    What counts is the content, not the suffix.

    Raises:
        ImageError: The file is missing, empty, not a picture that OpenCV reads, larger than
            ``MAX_PIXELS``, or has pixels of other than 8 or 16 bits.
    """
    data = _read_file(Path(path))
    size = picture_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise ImageError(
            f"{path}: {size[0]} x {size[1]} is more than {MAX_PIXELS // 10**6} megapixels; "
            "reduce or split it"
        )
    try:
        pixels, exif, icc = _decode(data)
    except cv2.error:
        pixels, exif, icc = None, None, None
    if pixels is None:
        raise ImageError(f"{path}: not a picture OpenCV can read; it is damaged or no picture")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: pixels are {pixels.dtype}; convert it to 8 or 16 bits a channel")
    if exif is not None:
        pixels = turn_upright(pixels, exif_orientation(exif))
        exif = upright_exif(exif)
    grey = pixels.ndim == 2
    if icc is not None and not profile_fits(icc, grey):
        icc = None
    if grey:
        return Picture(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), None, True, exif, icc)
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None
    code = cv2.COLOR_BGR2RGB if alpha is None else cv2.COLOR_BGRA2RGB
    return Picture(cv2.cvtColor(pixels, code), alpha, False, exif, icc)


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, quality: int = QUALITY
) -> None:
    """Encode a picture in the format that the suffix names and replace ``path`` atomically.

    JPEG is written without chroma subsampling. JPEG, WebP and BMP hold 8 bits: 16-bit pictures
    are rounded for them. JPEG and BMP hold no transparency: alpha is dropped where it is opaque
    everywhere, and refused otherwise.

    Args:
        path: Where to write; the suffix is one of ``SUFFIXES``.
        picture: What to write.
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        ImageError: Unknown suffix, quality out of range, transparency or a size that the format
            cannot hold, or the file cannot be written (no such folder, read-only, disk full).
    """
    path = Path(path)
    suffix = check_suffix(path)
    if not 1 <= quality <= 100:
        raise ImageError(f"quality must be from 1 to 100, got {quality}")
    data = _encode(_file_pixels(path, picture), picture, suffix, quality)
    if data is None:
        height, width = picture.rgb.shape[:2]
        raise ImageError(f"{path}: {suffix} cannot hold {width} x {height} pixels; use .png")
    try:
        write_atomically(path, data)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from None


def check_suffix(path: Path) -> str:
    """Return the suffix in lower case, or raise ImageError when nothing can be written under it."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(f"{path}: cannot write {suffix or 'no suffix'}; use {', '.join(SUFFIXES)}")
    return suffix


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files in ``folder`` itself that have a suffix of a picture, sorted by name.

    Raises:
        ImageError: The folder is missing or cannot be listed.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from None
    return [p for p in entries if p.suffix.lower() in SUFFIXES and p.is_file()]


def _read_file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{path}: is a folder; name a picture in it")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path}: is not a regular file; copy the picture to one")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the name") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise ImageError(f"{path}: is empty; copy it again")
    return data


def _decode(data: bytes) -> tuple[NDArray[Any] | None, bytes | None, bytes | None]:
    """Return (pixels in BGR order, EXIF, ICC); pixels None where OpenCV cannot read the data."""
    buffer = np.frombuffer(data, np.uint8)
    # Unchanged pixels are not turned, except in TIFF, whose EXIF is not reported either.
    pixels, kinds, blocks = cv2.imdecodeWithMetadata(buffer, cv2.IMREAD_UNCHANGED)
    found = {int(k): np.asarray(b).tobytes() for k, b in zip(kinds, blocks, strict=True)}
    exif = found.get(_EXIF)
    return pixels, exif and exif.removeprefix(b"Exif\0\0"), found.get(_ICC)


def _file_pixels(path: Path, picture: Picture) -> NDArray[Any]:
    """Return the pixels as the format of ``path`` stores them: channel order, alpha, depth."""
    suffix = path.suffix.lower()
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None and suffix in (*_JPEG_SUFFIXES, ".bmp"):
        if (alpha != np.iinfo(alpha.dtype).max).any():
            raise ImageError(f"{path}: {suffix} cannot hold transparency; use .png, .webp or .tif")
        alpha = None
    if alpha is not None:
        pixels = np.dstack([rgb[..., ::-1], alpha])
    elif picture.grey:
        pixels = np.rint(rgb.mean(axis=2)).astype(rgb.dtype)
    else:
        pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if pixels.dtype == np.uint16 and suffix not in _DEEP_SUFFIXES:
        pixels = np.rint(pixels / np.float32(257)).astype(np.uint8)
    return pixels


def _encode(pixels: NDArray[Any], picture: Picture, suffix: str, quality: int) -> bytes | None:
    flags = _flags(suffix, grey=pixels.ndim == 2, quality=quality)
    blocks = {_EXIF: picture.exif, _ICC: picture.icc}
    kept = {kind: block for kind, block in blocks.items() if block is not None}
    if kept and suffix in _METADATA_SUFFIXES:
        data = _encode_with_metadata(pixels, kept, suffix, flags)
        if data is not None:
            return data
        # JPEG encoders refuse blocks over 64 KB; the picture matters more than they do.
    try:
        done, buffer = cv2.imencode(suffix, pixels, flags)
    except cv2.error:
        return None
    return buffer.tobytes() if done else None


def _flags(suffix: str, *, grey: bool, quality: int) -> list[int]:
    if suffix == ".webp":
        return [cv2.IMWRITE_WEBP_QUALITY, quality]
    if suffix not in _JPEG_SUFFIXES:
        return []
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if not grey:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return flags


def _encode_with_metadata(
    pixels: NDArray[Any], blocks: dict[int, bytes], suffix: str, flags: list[int]
) -> bytes | None:
    contents = [np.frombuffer(block, np.uint8) for block in blocks.values()]
    try:
        done, buffer = cv2.imencodeWithMetadata(suffix, pixels, list(blocks), contents, flags)
    except cv2.error:
        return None
    return buffer.tobytes() if done else None
