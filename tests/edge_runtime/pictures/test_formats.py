import dataclasses
import io
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from edge_runtime.pictures.formats import quality_of
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from tests.helpers import smooth, srgb_profile

Noise = Callable[..., NDArray[np.generic]]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6">a street</x:xmpmeta>'
UPRIGHT_XMP = XMP.replace(b'"6"', b'"1"')


def _exif(description: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = description
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".bmp", ".webp", ".avif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".bmp"])
def test_density_is_kept(tmp_path: Path, source: str, target: str) -> None:
    Image.fromarray(smooth()).save(tmp_path / f"a{source}", dpi=(300, 150))
    write_picture(tmp_path / f"b{target}", read_picture(tmp_path / f"a{source}"))
    with Image.open(tmp_path / f"b{target}") as again:
        if target in (".webp", ".avif"):
            found = (again.getexif()[282], again.getexif()[283])
        else:
            found = again.info["dpi"]
        assert tuple(map(float, found)) == pytest.approx((300, 150), abs=0.05)


def test_density_turns_with_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (".jpg", ".tif"):
        Image.fromarray(smooth()).save(tmp_path / f"a{suffix}", dpi=(300, 150), exif=exif)
        density = read_picture(tmp_path / f"a{suffix}").metadata.density
        assert density == pytest.approx((150, 300))


def test_density_in_centimetres(tmp_path: Path) -> None:
    data = bytearray(_encoded(Image.fromarray(smooth()), "JPEG", dpi=(100, 100)))
    data[13] = 2
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_picture(tmp_path / "a.jpg").metadata.density == (254, 254)


def test_no_density_is_made_up(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".bmp", ".tif", ".webp"):
        write_picture(tmp_path / f"a{suffix}", Picture(smooth()))
        assert read_picture(tmp_path / f"a{suffix}").metadata.density is None
        with Image.open(tmp_path / f"a{suffix}") as again:
            assert again.info.get("dpi", (1, 1)) in ((1, 1), (0, 0), (96, 96))  # of BMP


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_exif_and_profile_are_kept(tmp_path: Path, source: str, target: str) -> None:
    exif, profile = Image.Exif(), srgb_profile()
    exif[0x010E], exif[0x0112] = "a street", 3
    exif.get_ifd(34665)[33434] = 0.01
    Image.fromarray(smooth()).save(tmp_path / f"a{source}", exif=exif, icc_profile=profile)
    with Image.open(tmp_path / f"a{source}") as before:
        shot = dict(before.getexif().get_ifd(34665))
    assert shot or source == ".tif"  # where Pillow leaves it out
    write_picture(tmp_path / f"b{target}", read_picture(tmp_path / f"a{source}"))
    with Image.open(tmp_path / f"b{target}") as again:
        assert again.info["icc_profile"] == profile
        found = again.getexif()
        assert (found[0x010E], found.get(0x0112, 1)) == ("a street", 1)
        assert found.get_ifd(34665) == shot


def test_what_a_camera_noted_survives_the_way_through_a_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(34665).update({33434: 0.01, 34855: 400})
    exif.get_ifd(34853)[2] = (47.0, 22.0, 30.5)
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=exif)
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.jpg"))
    write_picture(tmp_path / "c.jpg", read_picture(tmp_path / "b.tif"))
    with Image.open(tmp_path / "c.jpg") as again:
        found = again.getexif()
        assert found.get_ifd(34665) == {33434: pytest.approx(0.01), 34855: 400}
        assert found.get_ifd(34853) == {2: (47, 22, 30.5)}


@pytest.mark.parametrize("source", [".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
def test_xmp_is_kept_upright(tmp_path: Path, source: str, target: str) -> None:
    options = {"tiffinfo": {700: XMP}} if source == ".tif" else {"xmp": XMP}
    Image.fromarray(smooth()).save(tmp_path / f"a{source}", **options)
    write_picture(tmp_path / f"b{target}", read_picture(tmp_path / f"a{source}"))
    with Image.open(tmp_path / f"b{target}") as again:
        found = again.info.get("xmp") or again.info["XML:com.adobe.xmp"].encode()
        assert found == UPRIGHT_XMP


def test_tiff_tags_survive_in_every_depth(tmp_path: Path, noise: Noise) -> None:
    rgba = noise(9, 7, 4, dtype=np.uint16)
    geo = (0.5, 0.5, 0.0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        rgba,
        photometric="rgb",
        extrasamples=["unassalpha"],
        description="a street",
        software="camera",
        metadata=None,
        byteorder=">",
        extratags=[(33550, "d", 3, geo, True), (33432, "s", 0, "us", True)],
    )
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.tif"))
    read = read_picture(tmp_path / "b.tif")
    np.testing.assert_array_equal(np.dstack([read.rgb, read.alpha]), rgba)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        tags = tiff.pages[0].tags
        assert [tags[n].value for n in (270, 305, 33432)] == ["a street", "camera", "us"]
        assert tags[33550].value == geo


def test_a_stale_thumbnail_is_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a street"
    block = bytearray(exif.tobytes())
    link = slice(6 + 8 + 2 + 12, 6 + 8 + 2 + 12 + 4)  # to the directory of the thumbnail
    block[link] = b"\0\0\1\0"
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=bytes(block))
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpg") as after:
        assert after.info["exif"][link] == bytes(4)
        assert after.getexif()[0x010E] == "a street"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth(24, 40)).save(tmp_path / "a.avif", exif=exif, quality=100)
    with Image.open(tmp_path / "a.avif") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture)).astype(int)
    read = read_picture(tmp_path / "a.avif")
    assert np.abs(read.rgb - expected).max() <= 4


def test_avif_of_10_and_12_bits_fills_16(tmp_path: Path, noise: Noise) -> None:
    for depth in (10, 12):
        raw = noise(9, 9, 3, dtype=np.uint16) >> (16 - depth)
        flags = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100]
        (tmp_path / "a.avif").write_bytes(cv2.imencode(".avif", raw, flags)[1].tobytes())
        found = read_picture(tmp_path / "a.avif").rgb[..., ::-1]
        np.testing.assert_array_equal(found, np.rint(raw * (65535 / (2**depth - 1))))
    rgb = noise(9, 9, 4, dtype=np.uint16)
    write_picture(tmp_path / "b.avif", Picture(rgb[..., :3], rgb[..., 3]), quality=100)
    read = read_picture(tmp_path / "b.avif")
    assert np.abs(np.dstack([read.rgb, read.alpha]).astype(int) - rgb).max() <= 8


def test_a_camera_note_survives_byte_for_byte(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[18246], exif[50708] = "Camera", 3, "a tag that few know"
    exif.get_ifd(34665)[37500] = bytes(range(256)) * 9  # which holds offsets of its own
    block = exif.tobytes()
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=block)
    for suffix in (".jpg", ".png", ".webp", ".avif"):
        write_picture(tmp_path / f"b{suffix}", read_picture(tmp_path / "a.jpg"))
        with Image.open(tmp_path / f"b{suffix}") as again:
            found = again.info["exif"].removeprefix(b"Exif\0\0")
        assert found == block.removeprefix(b"Exif\0\0")


def test_what_a_format_cannot_hold_does_not_take_the_rest_along(tmp_path: Path) -> None:
    plain = srgb_profile()
    length = len(plain) + 100_000  # for which a JPEG has several segments
    profile = struct.pack(">I", length) + plain[4:] + bytes(100_000)
    Image.fromarray(smooth()).save(tmp_path / "a.png", icc_profile=profile)
    read = read_picture(tmp_path / "a.png")
    large = dataclasses.replace(read.metadata, xmp=bytes(70_000), exif=_exif("a street"))
    write_picture(tmp_path / "b.jpg", dataclasses.replace(read, metadata=large))
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.info["icc_profile"] == profile
        assert again.getexif()[0x010E] == "a street"
        assert "xmp" not in again.info


def test_captions_of_agencies_and_texts_of_png_are_kept(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Somebody")
    Image.fromarray(smooth()).save(tmp_path / "a.png", pnginfo=texts)
    write_picture(tmp_path / "b.png", read_picture(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as again:
        assert again.text == {"Author": "Somebody"}
    caption = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x78\0\x03cap"
    Image.fromarray(smooth()).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    segment = struct.pack(">HH", 0xFFED, len(caption) + 2) + caption
    (tmp_path / "a.jpg").write_bytes(content[:2] + segment + content[2:])
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg"))
    assert segment in (tmp_path / "b.jpg").read_bytes()


def test_quality_of_libjpeg_is_found_exactly() -> None:
    picture = Image.new("RGB", (9, 5), "navy")
    for quality in range(1, 101):
        assert quality_of(_encoded(picture, "JPEG", quality=quality), ".jpg") == quality
    assert quality_of(_encoded(picture.convert("L"), "JPEG", quality=33), ".jpg") == 33


def test_quality_of_other_tables_is_the_nearest() -> None:
    picture = Image.new("RGB", (9, 5), "navy")
    half_way = _encoded(picture, "JPEG", qtables=[[16] * 64, [17] * 64])
    assert 70 <= (quality_of(half_way, ".jpg") or 0) <= 95
    assert quality_of(b"\xff\xd8\xff\xd9", ".jpg") is None
    for length in range(0, len(half_way), 7):
        quality_of(half_way[:length], ".jpg")


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_lossless_avif_is_known(depth: int) -> None:
    pixels = np.full((8, 8, 3), 99, np.uint8 if depth == 8 else np.uint16)
    for quality, expected in ((90, None), (100, 100)):
        flags = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, quality]
        assert quality_of(cv2.imencode(".avif", pixels, flags)[1].tobytes(), ".avif") == expected


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.jpg", {"quality": 61}, 61),
        ("a.webp", {"lossless": True}, 100),
        ("a.webp", {"lossless": True, "exif": Image.Exif()}, 100),
        ("a.webp", {"quality": 50}, None),
        ("a.png", {}, None),
    ],
)
def test_quality_follows_the_input(
    tmp_path: Path, name: str, options: dict[str, object], expected: int | None
) -> None:
    Image.fromarray(smooth()).save(tmp_path / name, **options)
    picture = read_picture(tmp_path / name)
    assert picture.quality == expected
    write_picture(tmp_path / f"b{name}", picture)
    again = read_picture(tmp_path / f"b{name}")
    if expected is not None:
        assert again.quality == expected
    if expected == 100:
        np.testing.assert_array_equal(again.rgb, picture.rgb)
    write_picture(tmp_path / "c.jpg", picture, quality=33)
    assert read_picture(tmp_path / "c.jpg").quality == 33


@pytest.mark.parametrize(("suffix", "most"), [(".tif", 2), (".jpg", 6)])
def test_cmyk_is_no_transparency(tmp_path: Path, suffix: str, most: int) -> None:
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / f"a{suffix}", quality=100)
    read = read_picture(tmp_path / f"a{suffix}")
    assert read.alpha is None
    assert np.abs(read.rgb.astype(int) - smooth()).max() <= most


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palettes(tmp_path: Path, suffix: str) -> None:
    colours = Image.fromarray(smooth()).quantize(16)
    colours.save(tmp_path / f"a{suffix}")
    expected = np.asarray(colours.convert("RGB"))
    np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}").rgb, expected)


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    colours = Image.fromarray(smooth()).quantize(16)
    colours.save(tmp_path / "a.png", transparency=3)
    with Image.open(tmp_path / "a.png") as picture:
        expected = np.asarray(picture.convert("RGBA"))
    read = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(np.dstack([read.rgb, read.alpha]), expected)
