import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import decode_pictures, encode_picture, join_pictures
from edge_runtime.pictures.tags import (
    Tag,
    density_of,
    directories,
    exif_of_density,
    exif_of_tiff,
    read_tags,
    tiff_with,
    upright,
)

DESCRIPTION, ORIENTATION, EXIF, GPS = 270, 274, 34665, 34853
DAMAGED = [b"", b"MM", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"junk" * 9]


def _exif(endian: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[DESCRIPTION], exif[ORIENTATION] = "a street", orientation
    exif[282], exif[283], exif[296] = 300.0, 150.0, 2
    exif.get_ifd(EXIF)[33434] = 0.01  # exposure time, a rational
    exif.get_ifd(EXIF)[34855] = 400  # ISO, a short
    exif.get_ifd(GPS)[2] = (47.0, 22.0, 30.5)
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_block_survives_being_read_and_written_in_either_order(endian: str) -> None:
    after = Image.Exif()
    after.load(exif_of_tiff(_exif(endian)))
    assert after[DESCRIPTION] == "a street"
    assert after.get_ifd(EXIF) == {33434: pytest.approx(0.01), 34855: 400}
    assert after.get_ifd(GPS) == {2: (47, 22, 30.5)}


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 6, 8, 77])
def test_orientation_is_reset_and_nothing_else(orientation: int, endian: str) -> None:
    block = _exif(endian, orientation)
    assert block[:2] == (b"II" if endian == "<" else b"MM")
    assert upright(block) == _exif(endian)


def test_density() -> None:
    for endian in "<>":
        assert density_of(_exif(endian)) == (300, 150)
    assert density_of(exif_of_density((72.5, 96))) == (72.5, 96)
    assert density_of(exif_of_density((0, 96))) is None


def test_tags_added_to_a_file_leave_its_pixels_and_its_own_tags() -> None:
    buffer, pixels = io.BytesIO(), np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(pixels).save(buffer, "TIFF", description="its own")
    foreign = Image.Exif()
    foreign.load(_exif(">"))
    foreign[256], foreign[315] = 1, "me"  # a width, which is that of another file
    file = tiff_with(buffer.getvalue(), foreign.tobytes()[6:], b"icc", b"xmp", None, (300, 300))
    with tifffile.TiffFile(io.BytesIO(file)) as tiff:
        tags = tiff.pages[0].tags
        np.testing.assert_array_equal(tiff.asarray(), pixels)
        assert (tags[270].value, tags[315].value) == ("its own", "me")
        assert tags[282].value == (300_000, 1000)
        assert (tags[700].value, tags[34675].value) == (b"xmp", b"icc")
        assert tags["ExifTag"].value["ISOSpeedRatings"] == 400


def _pages(**options: object) -> bytes:
    """Return a TIFF file of a page, its thumbnail, a mask, and a larger page of 16 bits."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as tiff:
        for number, (pixels, kind) in enumerate(
            (
                (np.zeros((8, 8, 3), np.uint8), 0),
                (np.zeros((4, 4, 3), np.uint8), 1),
                (np.zeros((8, 8), bool), 4),
                (np.full((20, 20, 3), 12_000, np.uint16), 2),
            )
        ):
            name = [(315, "s", 0, f"page {number}", True)]
            tiff.write(pixels, subfiletype=kind, metadata=None, extratags=name)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}]
)
def test_pages_are_no_thumbnails_and_no_masks(options: dict[str, object]) -> None:
    data = _pages(**options)
    places = directories(data)
    assert list(places) == [0, 3]
    pictures = list(decode_pictures(data, "it"))
    assert [(each.rgb.shape[0], each.rgb[0, 0, 0]) for each in pictures] == [(8, 0), (20, 12_000)]
    files = [(encode_picture(each, ".tif", "it"), None) for each in pictures]
    joined = join_pictures(files, pictures[0], ".tif", "it")
    with Image.open(io.BytesIO(joined)) as tiff:
        assert tiff.n_frames == 2
        for number, each in enumerate(pictures):
            tiff.seek(number)
            assert tiff.tag_v2[315] == f"page {3 * number}"
            assert tiff.size == each.rgb.shape[1::-1]
    for again, expected in zip(decode_pictures(joined, "it"), pictures, strict=True):
        np.testing.assert_array_equal(again.rgb, expected.rgb)
    with pytest.raises(ImageError, match="20 x 20 is more than 399 pixels"):
        list(decode_pictures(data, "it", max_pixels=399))
    with pytest.raises(ImageError, match="it is damaged"):  # as a chain that leads nowhere is
        list(decode_pictures(data[: places[3] + 1], "it"))


@pytest.mark.parametrize("tag", [(50706, "B", 4, b"\1\4\0\0", True), (254, "I", 1, 1, True)])
def test_raw_photographs_are_not_taken_for_their_thumbnails(tag: tuple[object, ...]) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((4, 4), np.uint8), extratags=[tag], metadata=None)
    with pytest.raises(ImageError, match="it: is a raw photograph, which is not read; convert"):
        list(decode_pictures(buffer.getvalue(), "it"))


def test_colours_of_a_tiff_stay() -> None:
    buffer = io.BytesIO()
    white, curve = (3127, 10000, 3290, 10000), tuple(range(0, 65536, 257)) * 3
    extra = [(318, "2I", 2, white, True), (301, "H", 768, curve, True)]
    tifffile.imwrite(buffer, np.zeros((4, 4, 3), np.uint8), extratags=extra)
    for suffix in (".tif", ".jpg"):
        made = encode_picture(next(decode_pictures(buffer.getvalue(), "it")), suffix, "it")
        with Image.open(io.BytesIO(made)) as again:
            exif = again.getexif()
            assert exif[301] == curve
            assert tuple(map(float, exif[318])) == (0.3127, 0.329)


def test_a_directory_that_contains_itself_ends() -> None:
    entries = [struct.pack("<HHII", EXIF, 4, 1, 8)] * 900 + [struct.pack("<HHII", GPS, 4, 1, 8)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries)
    assert read_tags(block).keys() <= {EXIF, GPS}


def test_values_that_a_hostile_file_repeats_are_not_all_held() -> None:
    size = 1_000_000
    entries = [struct.pack("<HHII", number, 1, size, 0) for number in range(900)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 900) + b"".join(entries) + bytes(size)
    assert sum(len(tag.value) for tag in read_tags(block).values()) <= 8 * size


@pytest.mark.parametrize("block", DAMAGED)
def test_what_is_no_structure_has_no_tags(block: bytes) -> None:
    assert read_tags(block) == {}
    assert upright(block) == block
    assert density_of(block) is exif_of_tiff(block) is None


def test_a_resolution_that_is_no_number_is_none() -> None:
    assert read_tags(exif_of_density((72, 72)))[296] == Tag(3, b"\2\0")
    zero = exif_of_density((72, 72)).replace(struct.pack("<II", 72000, 1000), bytes(8))
    assert density_of(zero) is None
