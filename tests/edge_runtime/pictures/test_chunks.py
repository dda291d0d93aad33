import io
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import (
    Picture,
    decode_pictures,
    encode_picture,
    holds_pages,
    join_pictures,
    notes_on,
)
from tests.helpers import smooth, srgb_profile

DELAYS = [40, 250, 70_000]
XMP, PROFILE = b"<x>a street</x>", srgb_profile()


def _frames(mode: str) -> list[Image.Image]:
    pixels = smooth(12, 17)
    frames = [Image.fromarray(np.roll(pixels, 3 * n, axis=1)).convert(mode) for n in range(3)]
    if mode == "RGBA":
        frames[1].putalpha(Image.fromarray(pixels[..., 0] * 9))
    return frames


def _animation(kind: str, mode: str, **options: object) -> bytes:
    first, *others = _frames(mode)
    exif = Image.Exif()
    exif[0x010E] = "a street"
    buffer = io.BytesIO()
    first.save(
        buffer, kind, save_all=True, append_images=others, duration=DELAYS, loop=3,
        disposal=int(mode == "RGBA"), exif=exif.tobytes(), icc_profile=PROFILE, **options,
    )  # fmt: skip
    return buffer.getvalue()


def _again(data: bytes, suffix: str) -> bytes:
    pictures = list(decode_pictures(data, "it"))
    files = [
        (encode_picture(each, suffix, "it", quality=100), each.metadata.timing) for each in pictures
    ]
    return join_pictures(files, pictures[0], suffix, "it")


def _shown(pictures: Sequence[Picture]) -> list[NDArray[np.uint8]]:
    """Return the pixels, without the colours of what is not seen."""
    shown = []
    for picture in pictures:
        alpha = np.full_like(picture.rgb[..., 0], 255) if picture.alpha is None else picture.alpha
        shown.append(np.dstack([picture.rgb * (alpha[..., None] > 0), alpha]))
    return shown


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("target", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("source", ["PNG", "WEBP"])
def test_every_frame_is_kept_with_its_time(source: str, target: str, mode: str) -> None:
    options = {} if source == "PNG" else {"lossless": True, "xmp": XMP}
    data = _animation(source, mode, **options)
    before = list(decode_pictures(data, "it"))
    made = _again(data, target)
    after = list(decode_pictures(made, "it"))
    np.testing.assert_array_equal(_shown(after), _shown(before))
    with Image.open(io.BytesIO(made)) as again:
        assert again.n_frames == 3
        for number, expected in enumerate(_frames(mode)):
            again.seek(number)
            found = np.asarray(again.convert("RGBA"))
            np.testing.assert_array_equal(
                found[..., 3], np.asarray(expected.convert("RGBA"))[..., 3]
            )
        fits = source == "WEBP" or mode != "L"  # the profile is one of three channels
        assert again.info.get("icc_profile") == (PROFILE if fits else None)
        assert again.getexif()[0x010E] == "a street"
    if target == ".tif":
        assert notes_on(before[0].metadata, target)[0].startswith("left out: times of frames")
        return
    timings = [each.metadata.timing for each in after]
    assert [each and each.milliseconds for each in timings] == DELAYS
    assert [each and each.loops for each in timings] == [3] * 3
    assert after[0].metadata.xmp == (XMP if source == "WEBP" else None)


def test_frames_of_an_avif_are_read_and_its_results_have_one() -> None:
    buffer = io.BytesIO()
    first, *others = _frames("RGB")
    first.save(buffer, "AVIF", save_all=True, append_images=others, duration=DELAYS, quality=100)
    before = list(decode_pictures(buffer.getvalue(), "it"))
    np.testing.assert_array_equal(
        _shown(list(decode_pictures(_again(buffer.getvalue(), ".webp"), "it"))), _shown(before)
    )
    assert not holds_pages(before[0].metadata, ".avif")
    assert notes_on(before[0].metadata, ".avif") == [
        "left out: 2 of 3 frames, since .avif holds one; use --format webp"
    ]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_damaged_frames_are_refused(kind: str) -> None:
    data = _animation(kind, "RGB")
    flipped = bytearray(data)
    flipped[-30] ^= 1
    for damaged in (data[:-40], bytes(flipped)) if kind == "PNG" else (data[:-40],):
        with pytest.raises(ImageError, match="it is damaged, copy it again"):
            list(decode_pictures(damaged, "it"))
