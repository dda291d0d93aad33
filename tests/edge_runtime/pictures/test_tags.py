import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from edge_runtime.pictures.tags import (
    DESCRIPTION,
    IMAGE_WIDTH,
    Tag,
    add_tags,
    descriptive,
    exif_block,
    read_tags,
)

EXIF, GPS = 34665, 34853


def _exif(endian: str) -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[DESCRIPTION] = "a street"
    exif[282] = 300.0
    exif.get_ifd(EXIF)[33434] = 0.01  # exposure time, a rational
    exif.get_ifd(EXIF)[34855] = 400  # ISO, a short
    exif.get_ifd(GPS)[2] = (47.0, 22.0, 30.5)
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_block_survives_being_read_and_written_in_either_order(endian: str) -> None:
    after = Image.Exif()
    after.load(exif_block(read_tags(_exif(endian))))
    assert after[DESCRIPTION] == "a street"
    assert after[282] == 300
    assert after.get_ifd(EXIF) == {33434: pytest.approx(0.01), 34855: 400}
    assert after.get_ifd(GPS) == {2: (47, 22, 30.5)}


def test_numbers() -> None:
    tags = read_tags(_exif(">"))
    assert tags[282].number == 300
    assert tags[DESCRIPTION].number is None
    assert Tag(5, struct.pack("<II", 1, 0)).number is None
    assert Tag(3, b"").number is None


def test_tags_added_to_a_file_leave_its_pixels_and_its_own_tags() -> None:
    buffer, pixels = io.BytesIO(), np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(pixels).save(buffer, "TIFF", description="its own")
    foreign = {**read_tags(_exif(">")), IMAGE_WIDTH: Tag(4, b"\x01\0\0\0"), 315: Tag(2, b"me\0")}
    file = add_tags(buffer.getvalue(), foreign)
    with tifffile.TiffFile(io.BytesIO(file)) as tiff:
        tags = tiff.pages[0].tags
        np.testing.assert_array_equal(tiff.asarray(), pixels)
        assert (tags[270].value, tags[315].value) == ("its own", "me")
        assert tags[282].value == (300, 1)
        assert tags["ExifTag"].value["ISOSpeedRatings"] == 400


def test_only_what_describes_the_picture_is_copied() -> None:
    assert descriptive({IMAGE_WIDTH: Tag(3), DESCRIPTION: Tag(2), 50706: Tag(1)}).keys() == {270}


def test_a_directory_that_contains_itself_ends() -> None:
    entries = [struct.pack("<HHII", EXIF, 4, 1, 8)] * 900 + [struct.pack("<HHII", GPS, 4, 1, 8)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries)
    assert exif_block(read_tags(block))[:4] == b"II*\0"


def test_values_that_a_hostile_file_repeats_are_not_all_held() -> None:
    size = 1_000_000
    entries = [struct.pack("<HHII", number, 1, size, 0) for number in range(900)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 900) + b"".join(entries) + bytes(size)
    assert sum(len(tag.value) for tag in read_tags(block).values()) <= 8 * size


@pytest.mark.parametrize("block", [b"", b"MM", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"junk" * 9])
def test_what_is_no_structure_has_no_tags(block: bytes) -> None:
    assert read_tags(block) == {}
