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
from PIL import Image, ImageOps, IptcImagePlugin, PngImagePlugin

from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import (
    Picture,
    decode_picture,
    encode_picture,
    notes_on,
    quality_of,
    read_picture,
    write_picture,
)
from edge_runtime.pictures.tags import Metadata
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


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


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


@pytest.mark.parametrize("source", [".jpg", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif", ".avif"])
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


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif"])
def test_a_stale_thumbnail_is_dropped(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a street"
    block = bytearray(exif.tobytes())
    link = slice(6 + 8 + 2 + 12, 6 + 8 + 2 + 12 + 4)  # to the directory of the thumbnail
    block[link] = b"\0\0\1\0"
    caption, small = (struct.pack(">4sHHI", b"8BIM", n, 0, 6) + b"abcdef" for n in (0x404, 0x40C))
    data = _encoded(Image.fromarray(smooth()), "JPEG", exif=bytes(block))
    packet = b'<x xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Thumbnails>\n</xmp:Thumbnails></x>'
    xmp = _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    (tmp_path / "a.jpg").write_bytes(
        data[:2] + xmp + _segment(0xED, b"Photoshop 3.0\0" + small + caption) + data[2:]
    )
    write_picture(tmp_path / f"b{suffix}", read_picture(tmp_path / "a.jpg"))
    again = read_picture(tmp_path / f"b{suffix}").metadata
    assert again.exif is not None
    assert b"\0\0\0\0a street\0" in again.exif
    assert again.xmp == packet.replace(b"<xmp:Thumbnails>\n</xmp:Thumbnails>", b"")
    assert again.iptc == (caption if suffix in (".jpg", ".tif") else None)


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
    assert notes_on(large, ".jpg") == [
        "left out: XMP, since .jpg cannot hold that; keep the format"
    ]
    assert "colour profile, EXIF, XMP" in notes_on(large, ".bmp")[0]
    assert notes_on(large, ".png") == []


def test_texts_and_comments_stay_in_their_format_and_are_told_of_otherwise(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Somebody")
    texts.add_itxt("Title", "Straße", "de", "Titel")
    texts.add_text("parameters", "steps 20" * 99, zip=True)
    Image.fromarray(smooth()).save(tmp_path / "a.png", pnginfo=texts)
    write_picture(tmp_path / "b.png", read_picture(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as again:
        assert again.text == before.text
        assert again.text["Title"].lang == "de"
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", comment=b"caf\xc3\xa9")
    write_picture(tmp_path / "b.jpeg", read_picture(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpeg") as again:
        assert again.info["comment"] == b"caf\xc3\xa9"
    for name, (same, other), kind in (
        ("a.png", (".png", ".jpg"), "texts"),
        ("a.jpg", (".jpeg", ".png"), "comment"),
    ):
        metadata = read_picture(tmp_path / name).metadata
        assert notes_on(metadata, same) == []
        line = f"left out: {kind}, since {other} cannot hold that; keep the format"
        assert notes_on(metadata, other) == [line]


def test_captions_of_agencies_go_from_jpeg_to_tiff_and_back(tmp_path: Path) -> None:
    caption = b"\x1c\x02\x78\0\x03cap"
    block = b"8BIM\x04\x04\0\0\0\0\0\x08" + caption
    data = _encoded(Image.fromarray(smooth()), "JPEG")
    segment = _segment(0xED, b"Photoshop 3.0\0" + block)
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.jpg"))
    tifffile.imwrite(tmp_path / "c.tif", smooth(), extratags=[(33723, "B", 8, caption, True)])
    for name in ("a.jpg", "b.tif", "c.tif"):
        write_picture(tmp_path / "d.jpg", read_picture(tmp_path / name))
        assert segment in (tmp_path / "d.jpg").read_bytes()
        with Image.open(tmp_path / name) as picture:
            assert IptcImagePlugin.getiptcinfo(picture) == {(2, 120): b"cap"}
    assert "IPTC" in notes_on(read_picture(tmp_path / "a.jpg").metadata, ".png")[0]


PARTS = (
    b'<rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    b' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    b' xmlns:hdr="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
)


@pytest.mark.parametrize(
    ("packet", "left"),
    [
        (
            PARTS + b' GCamera:MotionPhoto=\'1\' xmp:Rating="4"\n GCamera:MicroVideoOffset="33"/>',
            PARTS + b'  xmp:Rating="4"\n />',
        ),
        (
            PARTS + b"><hdr:Version>1.0</hdr:Version><Container:Directory><rdf:Seq><rdf:li>"
            b'<Container:Item Item:Mime="video/mp4"/></rdf:li></rdf:Seq></Container:Directory>'
            b"<xmp:Rating>4</xmp:Rating><hdr:Gamma/></rdf:Description>",
            PARTS + b"><xmp:Rating>4</xmp:Rating></rdf:Description>",
        ),
        (b"<a hdr:Version='1'>" + b"<hdr:x>" * 9999, None),
        (PARTS + b">" + b"<hdr:x>" * 9999, None),
        (PARTS + b">" + b"<hdr:x " * 9999 + b" " * 60_000, None),
    ],
)
def test_xmp_does_not_speak_of_parts_that_are_gone(packet: bytes, left: bytes | None) -> None:
    picture = Picture(smooth(), metadata=Metadata(xmp=packet))
    again = decode_picture(encode_picture(picture, ".png", "it"), "it").metadata.xmp
    assert again == (packet if left is None else left)


CLIP = b"\0\0\0\x18ftypisom" + bytes(99)


@pytest.mark.parametrize(
    ("behind", "lost"),
    [
        (b"", ()),
        (bytes(9000), ()),
        (b"SEFT" * 99, ()),
        (CLIP, ("video clip",)),
        (b"\xff\xd8 hdr-gain-map" + CLIP, ("gain map", "video clip")),
        (b"SEFT" * 9999, ("data behind the picture",)),
    ],
)
def test_what_lies_behind_a_jpeg_is_told(behind: bytes, lost: tuple[str, ...]) -> None:
    data = _encoded(Image.fromarray(smooth()), "JPEG", progressive=True) + behind
    picture = decode_picture(data, "it")
    assert picture.metadata.lost == lost
    assert notes_on(picture.metadata, ".jpg") == [f"left out: {each}" for each in lost]
    assert behind == b"" or behind not in encode_picture(picture, ".jpg", "it")


def test_a_gain_map_and_a_thumbnail_are_no_pages() -> None:
    first, gain, small = (_encoded(Image.fromarray(smooth()), "JPEG") for _ in range(3))
    gain += b"urn:com:apple:photo:2020:aux:hdrgainmap"
    index = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIII", 0xB002, 7, 48, 26, 0)
    lengths, start = (len(first) + 84, len(gain), len(small)), len(first) + 76
    for kind, length, at in zip(
        (0x30000, 0, 0x10001), lengths, (0, start, start + len(gain)), strict=True
    ):
        index += struct.pack("<IIIHH", kind, length, at, 0, 0)
    segment = _segment(0xE2, b"MPF\0" + index)
    metadata = decode_picture(first[:2] + segment + first[2:] + gain + small, "it").metadata
    assert (metadata.pages, metadata.lost) == (1, ("gain map",))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("bands", [2, 4])
def test_alpha_of_a_tiff_is_never_multiplied(
    tmp_path: Path, dtype: type, kind: str, bands: int
) -> None:
    peak = np.iinfo(dtype).max
    pixels = np.full((4, 5, bands), [165, 130, 16, 128][-bands:], dtype) * (peak // 255)
    stored = pixels.copy()
    if kind == "assocalpha":
        stored[..., :-1] = np.rint(pixels[..., :-1] * (pixels[..., -1:] / peak))
    photometric = "rgb" if bands == 4 else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric=photometric, planarconfig=1, extrasamples=[kind]
    )
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.tif"))
    read = read_picture(tmp_path / "b.tif")
    found = np.dstack([read.rgb[..., : bands - 1], read.alpha])
    assert np.abs(found.astype(int) - pixels).max() <= (0 if kind == "unassalpha" else 1)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.pages[0].tags["ExtraSamples"].value == (2,)


def test_a_jpeg_that_only_decodes_with_warnings_is_damaged_unless_they_are_harmless() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    data = _encoded(noise, "JPEG", quality=50)
    expected = decode_picture(data, "it").rgb
    padded = data[:-2] + b"\0" * 5 + data[-2:]
    np.testing.assert_array_equal(decode_picture(padded, "it").rgb, expected)
    for wrong in (data[: len(data) // 2] + b"\xff\xd9", data[:1500] + b"\xff\xd3" + data[1500:]):
        with pytest.raises(ImageError, match="it is damaged, copy it again"):
            decode_picture(wrong, "it")


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
