import dataclasses
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import Picture, decode_picture, read_picture, write_picture
from edge_runtime.pictures.tags import Metadata
from tests.helpers import smooth, srgb_profile

Noise = Callable[..., NDArray[np.uint8]]
LOSSLESS = [".png", ".tif", ".bmp"]


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 13)])
def test_rgb_round_trip(tmp_path: Path, suffix: str, shape: tuple[int, int], noise: Noise) -> None:
    path = tmp_path / f"ä日本{suffix}"
    rgb = noise(*shape, 3)
    write_picture(path, Picture(rgb))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), rgb)
    read = read_picture(path)
    np.testing.assert_array_equal(read.rgb, rgb)
    assert (read.alpha, read.grey) == (None, False)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".avif"])
def test_lossy_formats_stay_close_and_in_rgb_order(tmp_path: Path, suffix: str) -> None:
    path, rgb = tmp_path / f"a{suffix}", smooth(40, 60)
    write_picture(path, Picture(rgb))
    for found in (read_picture(path).rgb, np.asarray(Image.open(path))):
        assert np.abs(found.astype(int) - rgb).mean() < 1.5


def test_jpeg_keeps_full_chroma(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", Picture(smooth(16, 16)))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_and_alpha_round_trip(tmp_path: Path, suffix: str, noise: Noise) -> None:
    path = tmp_path / f"a{suffix}"
    rgba = noise(5, 6, 4, dtype=np.uint16)
    write_picture(path, Picture(rgba[..., :3], rgba[..., 3]))
    read = read_picture(path)
    np.testing.assert_array_equal(np.dstack([read.rgb, read.alpha]), rgba)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    path, grey = tmp_path / f"a{suffix}", smooth(20, 30)[..., 2]
    Image.fromarray(grey).save(path)
    read = read_picture(path)
    assert read.grey
    assert read.rgb.shape == (20, 30, 3)
    write_picture(path, read)
    with Image.open(path) as again:
        assert again.mode == "L"
        assert np.abs(np.asarray(again).astype(int) - grey).max() <= 3


def test_sixteen_bits_are_rounded_for_jpeg(tmp_path: Path) -> None:
    rgb = np.full((8, 8, 3), 32768, np.uint16)  # 127.502 in 8 bits
    write_picture(tmp_path / "a.jpg", Picture(rgb))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").rgb, np.full((8, 8, 3), 128))


def test_webp_keeps_alpha(tmp_path: Path, noise: Noise) -> None:
    alpha = noise(9, 9)
    write_picture(tmp_path / "a.webp", Picture(smooth(9, 9), alpha))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.webp").alpha, alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_transparency_is_not_lost_silently(tmp_path: Path, suffix: str, noise: Noise) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(ImageError, match="cannot hold transparency"):
        write_picture(path, Picture(noise(9, 9, 3), noise(9, 9)))
    assert not path.exists()
    write_picture(path, Picture(noise(9, 9, 3), np.full((9, 9), 255, np.uint8)))
    assert read_picture(path).alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_agrees_with_pillow(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth(24, 40)).save(path, exif=exif)
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture)).astype(int)
    read = read_picture(path)
    assert read.rgb.shape == expected.shape
    assert np.abs(read.rgb - expected).max() <= 4
    write_picture(tmp_path / f"b{suffix}", read)
    with Image.open(tmp_path / f"b{suffix}") as again:
        assert again.getexif().get(0x0112, 1) == 1
        assert again.size == (expected.shape[1], expected.shape[0])


def test_alpha_is_turned_too(tmp_path: Path, noise: Noise) -> None:
    rgba, exif = noise(4, 6, 4), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgba).save(tmp_path / "a.png", exif=exif)
    read = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(np.dstack([read.rgb, read.alpha]), np.rot90(rgba, -1))


def test_a_profile_of_other_channels_is_dropped(tmp_path: Path) -> None:
    cmyk = Image.fromarray(smooth(16, 16)).convert("CMYK")
    profile = srgb_profile()
    cmyk.save(tmp_path / "a.jpg", icc_profile=profile[:16] + b"CMYK" + profile[20:])
    assert read_picture(tmp_path / "a.jpg").metadata.icc is None


def test_metadata_too_large_for_the_format_does_not_lose_the_picture(tmp_path: Path) -> None:
    picture = Picture(smooth(9, 9), metadata=Metadata(exif=b"MM\0*\0\0\0\x08" + bytes(70_000)))
    write_picture(tmp_path / "a.jpg", picture)
    assert read_picture(tmp_path / "a.jpg").rgb.shape == (9, 9, 3)


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True)
    assert read_picture(tmp_path / "a.webp").rgb[4, 4].tolist() == [255, 0, 0]


def test_content_counts_not_the_suffix(tmp_path: Path, noise: Noise) -> None:
    rgb = noise(5, 5, 3)
    write_picture(tmp_path / "a.png", Picture(rgb))
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").rgb, rgb)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"hello, world", "not a picture that can be read"),
        (b"\xff\xd8\xff\xe0", "not a picture that can be read"),
        (b"\x89PNG\r\n\x1a\n", "not a picture that can be read"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.jpg: .*{message}"):
        read_picture(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".avif"])
def test_truncated_pictures(tmp_path: Path, suffix: str, noise: Noise) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(noise(30, 30, 3)))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match="not a picture that can be read"):
        read_picture(path)


def test_folders_and_pipes_are_not_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        read_picture(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_picture(tmp_path / "pipe.png")


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    with pytest.raises(ImageError, match="pixels are float32"):
        read_picture(tmp_path / "a.tif")


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
def test_the_size_is_known_from_the_header(
    kind: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size, "navy").save(buffer, kind, **options)
    assert decode_picture(buffer.getvalue(), "it").rgb.shape == (size[1], size[0], 3)
    with pytest.raises(ImageError, match=rf"{size[0]} x {size[1]} is more than"):
        decode_picture(buffer.getvalue(), "it", max_pixels=size[0] * size[1] - 1)


def test_a_huge_picture_is_refused_before_decoding(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])  # cannot be decoded
    with pytest.raises(ImageError, match="20000 x 20000 is more than 100 megapixels"):
        read_picture(tmp_path / "a.png")


def test_the_limit_can_be_moved(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(np.zeros((10, 20, 3), np.uint8)))
    assert read_picture(tmp_path / "a.png", max_pixels=200).rgb.shape == (10, 20, 3)
    with pytest.raises(ImageError, match=r"10 is more than 199 pixels; allow it with"):
        read_picture(tmp_path / "a.png", max_pixels=199)


def test_grey_with_transparency(tmp_path: Path, noise: Noise) -> None:
    grey, alpha = noise(9, 9), noise(9, 9, seed=1)
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    for suffix in (".png", ".tif"):
        both.save(tmp_path / f"a{suffix}")
        read = read_picture(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read.rgb, np.dstack([grey] * 3))
        np.testing.assert_array_equal(read.alpha, alpha)
    Image.fromarray(grey).save(tmp_path / "a.png", transparency=int(grey[4, 4]))
    read = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(read.alpha == 0, grey == grey[4, 4])


def test_what_cannot_be_written(tmp_path: Path, noise: Noise) -> None:
    picture = Picture(noise(5, 5, 3))
    for name in ("a.xyz", "a"):
        with pytest.raises(ImageError, match=r"cannot write .*use \.jpg"):
            write_picture(tmp_path / name, picture)
    with pytest.raises(ImageError, match=r"cannot be written \(No such file"):
        write_picture(tmp_path / "missing" / "a.png", picture)
    with pytest.raises(ImageError, match="quality must be from 1 to 100, got 0"):
        write_picture(tmp_path / "a.jpg", picture, quality=0)
    wide = dataclasses.replace(picture, rgb=np.zeros((1, 70_000, 3), np.uint8))
    with pytest.raises(ImageError, match=r"\.jpg cannot hold 70000 x 1 pixels"):
        write_picture(tmp_path / "a.jpg", wide)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_and_writes_too(tmp_path: Path) -> None:
    rgb = smooth(50, 60)
    suffixes = [".jpg", ".png", ".tif", ".webp", ".avif", ".bmp"]
    for suffix in suffixes:  # with threads that the fork will lack
        write_picture(tmp_path / f"a{suffix}", Picture(rgb))
    child = os.fork()
    if not child:
        signal.alarm(20)  # rather than wait for ever
        for suffix in suffixes:
            write_picture(tmp_path / f"b{suffix}", read_picture(tmp_path / f"a{suffix}"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for suffix in LOSSLESS:
        np.testing.assert_array_equal(read_picture(tmp_path / f"b{suffix}").rgb, rgb)
