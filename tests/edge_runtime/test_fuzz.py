"""Damaged and hostile files: none may crash, hang, or be taken for something that it is not."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from edge_runtime.derainer import Derainer
from edge_runtime.errors import ImageError
from edge_runtime.pictures.batch import derain_batch
from edge_runtime.pictures.picture import Picture, decode_picture, encode_picture, read_picture
from edge_runtime.pictures.plan import Job

LIMIT = 100_000
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CASES = 400  # for each of the ten kinds of file


def _seed(kind: str, mode: str = "RGB", **options: object) -> bytes:
    down, right = np.mgrid[0:11, 0:17]
    picture = Image.fromarray(np.dstack([down * 20, right * 15, down + right]).astype(np.uint8))
    picture = picture.quantize(16) if mode == "P" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a street"
    if kind != "BMP":
        options |= {"exif": exif}
        if mode == "RGB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            options |= {"icc_profile": profile}
    buffer = io.BytesIO()
    picture.save(buffer, kind, dpi=(300, 300), **options)
    return buffer.getvalue()


def _deep() -> bytes:
    pixels = np.arange(11 * 17 * 4, dtype=np.uint16).reshape(11, 17, 4)
    return encode_picture(Picture(pixels[..., :3], pixels[..., 3]), ".png", "deep")


SEEDS = {
    "jpeg": _seed("JPEG"),
    "cmyk": _seed("JPEG", "CMYK", progressive=True),
    "png": _seed("PNG"),
    "palette": _seed("PNG", "P", transparency=3),
    "deep": _deep(),
    "webp": _seed("WEBP"),
    "lossless": _seed("WEBP", "RGBA", lossless=True),
    "tiff": _seed("TIFF", compression="tiff_lzw"),
    "bmp": _seed("BMP", "P"),
    "avif": _seed("AVIF"),
}


@st.composite
def _damaged(draw: st.DrawFn, seed: bytes) -> bytes:
    data = bytearray(seed)
    # Headers are short, and where they are wrong the most can go wrong: half the damage is there.
    places = st.one_of(st.integers(0, min(len(data), 160) - 1), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 4))):
        at, kind = draw(places), draw(st.sampled_from(["flip", "number", "cut", "repeat"]))
        if kind == "flip":
            data[at % len(data)] ^= 1 << draw(st.integers(0, 7))
        elif kind == "number":
            number = draw(st.sampled_from(EXTREMES))
            order = draw(st.sampled_from("<>"))
            data[at : at + 4] = struct.pack(order + "I", number)
        elif kind == "cut":
            del data[max(at, 1) :]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_are_good(name: str) -> None:
    assert decode_picture(SEEDS[name], name).rgb.size == 11 * 17 * 3


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_pictures_are_read_or_refused(name: str) -> None:
    @settings(
        max_examples=CASES,
        deadline=5000,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(_damaged(SEEDS[name]))
    def check(data: bytes) -> None:
        try:
            picture = decode_picture(data, "it", max_pixels=LIMIT)
        except ImageError:
            return
        height, width = picture.rgb.shape[:2]
        assert 1 <= height * width <= LIMIT
        again = decode_picture(encode_picture(picture, ".tif", "it"), "again")
        np.testing.assert_array_equal(again.rgb, picture.rgb)

    check()


def test_headers_that_claim_too_much_are_refused_unread() -> None:
    cases = {"jpeg": (b"\xff\xc0", 5, ">HH", 65000), "png": (b"IHDR", 4, ">II", 900_000)}
    for name, (mark, after, order, side) in {**cases, "bmp": (b"BM", 18, "<II", 1 << 30)}.items():
        data = bytearray(SEEDS[name])
        struct.pack_into(order, data, data.index(mark) + after, side, side)
        if name == "png":
            struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        with pytest.raises(ImageError, match="is more than 100 megapixels"):
            decode_picture(bytes(data), "it")


def test_a_batch_of_rubbish_leaves_whole_files_only(
    tmp_path: Path, save_model: Callable[..., Path]
) -> None:
    generator = np.random.default_rng(0)
    jobs = []
    for number in range(100):
        data = bytearray(SEEDS[list(SEEDS)[number % len(SEEDS)]])
        for at in generator.integers(0, len(data), number % 7):
            data[at] ^= 1 << int(generator.integers(8))
        source = tmp_path / f"{number}.in"
        source.write_bytes(data)
        jobs.append(Job(source, tmp_path / "out" / f"{number}.png"))
    derainer = Derainer.load(save_model(), threads=1)
    outcomes = list(derain_batch(derainer, jobs))
    assert [outcome.job for outcome in outcomes] == jobs
    good = {outcome.job.target for outcome in outcomes if outcome.error is None}
    assert set((tmp_path / "out").iterdir()) == good
    assert 20 < len(good) < 100
    for path in good:
        read_picture(path)
