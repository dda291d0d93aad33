import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edge_runtime.pictures import metadata

Noise = Callable[..., NDArray[np.uint8]]


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (31, 20), (300, 2)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "comment": b"x" * 999}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"icc_profile": b"makes it extended"}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        ("AVIF", {}),
    ],
)
def test_picture_size(kind: str, options: dict[str, object], size: tuple[int, int]) -> None:
    data = _encoded(Image.new("RGB", size, "navy"), kind, **options)
    assert metadata.picture_size(data) == size


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"BM",
        b"\xff\xd8",
        b"\xff\xd8\xff\xff\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF0000WEBPnone",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\0\0",
    ],
)
def test_picture_size_of_something_else(data: bytes) -> None:
    assert metadata.picture_size(data) is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_turn_upright_agrees_with_pillow(
    orientation: int, shape: tuple[int, ...], noise: Noise
) -> None:
    pixels = noise(*shape)
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(picture)
    np.testing.assert_array_equal(metadata.turn_upright(pixels, orientation), np.asarray(upright))


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_read_and_reset(orientation: int, endian: str) -> None:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x0112] = orientation
    exif[0x010E] = "a street"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    assert block[:2] == (b"II" if endian == "<" else b"MM")
    assert metadata.exif_orientation(block) == orientation
    after = Image.Exif()
    after.load(metadata.upright_exif(block))
    assert dict(after) == {0x0112: 1, 0x010E: "a street"}


@pytest.mark.parametrize("block", [b"", b"MM", b"II*\0\xff\xff\xff\x7f", b"junk" * 9])
def test_a_damaged_exif_block_means_upright(block: bytes) -> None:
    assert metadata.exif_orientation(block) == 1
    assert metadata.upright_exif(block) == block


def test_an_orientation_out_of_range_means_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert metadata.exif_orientation(exif.tobytes().removeprefix(b"Exif\0\0")) == 1
