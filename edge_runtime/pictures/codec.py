"""Encoded pictures to pixels and back through OpenCV, with all that OpenCV does not carry itself.

OpenCV reads and writes EXIF, ICC and XMP in JPEG, PNG and WebP. In TIFF and AVIF, and for the
density everywhere, this module does what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.pictures import tags
from edge_runtime.pictures.avif import read_properties
from edge_runtime.pictures.density import Density, density_tags, read_density, set_density
from edge_runtime.pictures.metadata import (
    exif_orientation,
    picture_format,
    profile_fits,
    turn_upright,
    upright_exif,
    upright_xmp,
)
from edge_runtime.pictures.tags import Tag, add_tags, descriptive, exif_block, read_tags

JPEG_SUFFIXES = (".jpg", ".jpeg")
TIFF_SUFFIXES = (".tif", ".tiff")
DEEP_SUFFIXES = (".png", *TIFF_SUFFIXES, ".avif")
"""Suffixes of the formats that hold more than 8 bits a channel."""

_EXIF, _ICC, _XMP = cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP, cv2.IMAGE_METADATA_XMP
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_LOSSLESS_WEBP = 101
_PHOTOMETRIC, _CMYK = 262, 5
_AVIF_PEAK = 4095  # of the 12 bits that 16 are written with


@dataclass(frozen=True)
class Metadata:
    """What a picture file says beside its pixels.

    Attributes:
        exif: The EXIF block, a TIFF structure, its orientation already set to upright, or None.
        icc: The ICC profile that the pixels are to be read with, or None.
        xmp: The XMP packet, or None.
        density: Pixels an inch in x and y, or None.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    density: Density | None = None


def decode(data: bytes) -> tuple[NDArray[Any] | None, Metadata]:
    """Return upright pixels, HW or HWC in BGR or BGRA order, and the metadata that fit them.

    The pixels are None where OpenCV cannot read the data.
    """
    try:
        # Unchanged pixels are not turned, except in TIFF.
        pixels, kinds, blocks = cv2.imdecodeWithMetadata(
            np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED
        )
    except cv2.error:
        return None, Metadata()
    if pixels is None:
        return None, Metadata()
    found = {int(k): np.asarray(b).tobytes() for k, b in zip(kinds, blocks, strict=True)}
    exif, icc, xmp = (found.get(kind) for kind in (_EXIF, _ICC, _XMP))
    exif = exif and exif.removeprefix(b"Exif\0\0")
    xmp = xmp and xmp.removeprefix(_JPEG_XMP).rstrip(b"\0")
    orientation = exif_orientation(exif) if exif else 1
    density = read_density(data, exif)
    suffix = picture_format(data)
    if suffix == ".tif":
        orientation = exif_orientation(data)
        pixels, exif, icc, xmp = _from_tags(pixels, read_tags(data))
    elif suffix == ".avif":
        properties = read_properties(data)
        orientation, icc = properties.orientation, properties.icc
        pixels = _stretched(pixels, properties.depth)
    if suffix != ".tif":
        pixels = turn_upright(pixels, orientation)
    if density is not None and orientation >= 5:
        density = density[::-1]
    fits = icc is not None and profile_fits(icc, pixels.ndim == 2)
    return pixels, Metadata(
        exif and upright_exif(exif), icc if fits else None, xmp and upright_xmp(xmp), density
    )


def encode(pixels: NDArray[Any], metadata: Metadata, suffix: str, quality: int) -> bytes | None:
    """Return an encoded picture, or None where the format cannot hold its size.

    Metadata that the format cannot hold, or not at this length, are left out.

    Args:
        pixels: HW, or HWC in BGR or BGRA order, uint8; uint16 for ``DEEP_SUFFIXES``.
        metadata: What to write beside them.
        suffix: Of the format, in lower case.
        quality: Of JPEG, WebP and AVIF, 1 to 100; 100 is lossless in the latter two.
    """
    flags = _flags(suffix, pixels, quality)
    if suffix == ".avif" and pixels.dtype == np.uint16:
        pixels = np.rint(pixels * np.float32(_AVIF_PEAK / 65535)).astype(np.uint16)
    exif = metadata.exif
    if exif is None and metadata.density is not None and suffix in (".webp", ".avif"):
        exif = exif_block(density_tags(metadata.density))
    blocks = {_EXIF: exif, _ICC: metadata.icc, _XMP: metadata.xmp}
    if suffix in JPEG_SUFFIXES and metadata.xmp is not None:
        blocks[_XMP] = _JPEG_XMP + metadata.xmp
    elif suffix == ".png" and metadata.xmp is not None:
        blocks[_XMP] = metadata.xmp + b"\0"  # OpenCV takes it for a string of C
    kept = {kind: block for kind, block in blocks.items() if block is not None}
    encoded = None
    if kept and suffix not in (*TIFF_SUFFIXES, ".bmp"):
        encoded = _try_encode(suffix, pixels, flags, kept)
    if encoded is None:  # JPEG takes no blocks over 64 KB; the picture matters more than they do
        encoded = _try_encode(suffix, pixels, flags, {})
    if encoded is None:
        return None
    if suffix in TIFF_SUFFIXES:
        extra = _to_tags(metadata)
        return add_tags(encoded, extra) if extra else encoded
    return encoded if metadata.density is None else set_density(encoded, metadata.density)


def _from_tags(
    pixels: NDArray[Any], found: dict[int, Tag]
) -> tuple[NDArray[Any], bytes | None, bytes | None, bytes | None]:
    """Return (pixels, EXIF, ICC, XMP) of a TIFF file."""
    if _PHOTOMETRIC in found and found[_PHOTOMETRIC].number == _CMYK and pixels.shape[2:] == (4,):
        pixels = pixels[..., :3]  # libtiff has made RGB of it, and the rest is no transparency
    kept = descriptive(found)
    icc, xmp = (found[kind].value if kind in found else None for kind in (tags.ICC, tags.XMP))
    return pixels, exif_block(kept) if kept else None, icc, xmp


def _to_tags(metadata: Metadata) -> dict[int, Tag]:
    found = descriptive(read_tags(metadata.exif)) if metadata.exif else {}
    if metadata.icc is not None:
        found[tags.ICC] = Tag(tags.UNDEFINED, metadata.icc)
    if metadata.xmp is not None:
        found[tags.XMP] = Tag(tags.BYTE, metadata.xmp)
    if metadata.density is not None:
        found.update(density_tags(metadata.density))
    return found


def _stretched(pixels: NDArray[Any], depth: int) -> NDArray[Any]:
    """Return the 10 or 12 bits of an AVIF picture as 16."""
    if pixels.dtype != np.uint16 or depth >= 16:
        return pixels
    stretched = pixels * np.float32(65535 / (2**depth - 1))
    rounded: NDArray[Any] = np.rint(stretched, out=stretched).astype(np.uint16)
    return rounded


def _flags(suffix: str, pixels: NDArray[Any], quality: int) -> list[int]:
    if suffix == ".webp":
        return [cv2.IMWRITE_WEBP_QUALITY, quality if quality < 100 else _LOSSLESS_WEBP]
    if suffix == ".avif":
        depth = 12 if pixels.dtype == np.uint16 else 8
        return [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_DEPTH, depth]
    if suffix not in JPEG_SUFFIXES:
        return []
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if pixels.ndim == 3:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return flags


def _try_encode(
    suffix: str, pixels: NDArray[Any], flags: list[int], blocks: dict[int, bytes]
) -> bytes | None:
    try:
        if blocks:
            contents = [np.frombuffer(block, np.uint8) for block in blocks.values()]
            done, buffer = cv2.imencodeWithMetadata(suffix, pixels, list(blocks), contents, flags)
        else:
            done, buffer = cv2.imencode(suffix, pixels, flags)
    except cv2.error:
        return None
    return buffer.tobytes() if done else None
