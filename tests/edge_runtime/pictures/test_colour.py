import io
import struct

import cv2
import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

from edge_runtime.errors import ImageError
from edge_runtime.pictures.chunks import png_chunk, png_chunks
from edge_runtime.pictures.colour import of_codes, of_png
from edge_runtime.pictures.picture import Picture, decode_picture, encode_picture
from edge_runtime.pictures.tags import Metadata
from tests.helpers import smooth, srgb_profile

ADOBE = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
GAMA, CHRM = struct.pack(">I", 45455), struct.pack(">8I", *ADOBE)
PROFILE = srgb_profile()
PQ, P3 = bytes([9, 16, 0, 1]), bytes([12, 13, 0, 1])


def _in_srgb(pixels: NDArray[np.uint8], profile: bytes, mode: str = "RGB") -> NDArray[np.int64]:
    """Return what littleCMS makes of them."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    found = ImageCms.profileToProfile(
        Image.fromarray(pixels), own, srgb, renderingIntent=1, outputMode=mode
    )
    return np.asarray(found).astype(int)


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    encoded = encode_picture(Picture(smooth()), ".png", "it")
    return encoded[:33] + b"".join(png_chunk(*each) for each in chunks) + encoded[33:]


def _written(source: bytes, suffix: str) -> bytes:
    return encode_picture(decode_picture(source, "it"), suffix, "it")


def test_profiles_say_what_the_numbers_do() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    display_p3 = of_codes(12, 13)
    assert display_p3 is not None
    expected = _in_srgb(pixels, pyvips.Operation.call("profile_load", "p3"))
    assert np.abs(_in_srgb(pixels, display_p3.profile(grey=False)) - expected).max() <= 4
    adobe = of_png({b"gAMA": GAMA, b"cHRM": CHRM})
    assert adobe is not None
    # Adobe RGB (1998), 4.3.5.2, then IEC 61966-2-1.
    matrix = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [
        [3.24045, -1.53714, -0.49853],
        [-0.96927, 1.87601, 0.04156],
        [0.05564, -0.20403, 1.05723],
    ]
    light = np.clip((pixels / 255) ** 2.2 @ np.transpose(matrix) @ np.transpose(to_srgb), 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(_in_srgb(pixels, adobe.profile(grey=False)) - curve * 255).max() < 1.5
    linear = of_png({b"gAMA": struct.pack(">I", 100_000)})
    assert linear is not None
    grey = _in_srgb(np.array([[0, 55, 128, 255]], np.uint8), linear.profile(grey=True))
    assert grey[0, :, 0].tolist() == [0, 128, 188, 255]


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        {b"gAMA": GAMA},
        {b"gAMA": struct.pack(">I", 0)},
        {b"cHRM": CHRM, b"iCCP": b""},
        {b"cHRM": CHRM, b"sRGB": b"\0"},
        {b"cHRM": bytes(32)},
        {b"cHRM": b"\xff" * 32},
        {b"cICP": bytes([1, 13, 0, 1]), b"cHRM": CHRM},
    ],
)
def test_srgb_and_nonsense_need_no_profile(chunks: dict[bytes, bytes]) -> None:
    assert of_png(chunks) is None


def test_colours_of_a_png_stay() -> None:
    said = [(b"gAMA", GAMA), (b"cHRM", CHRM), (b"cICP", PQ), (b"cLLI", bytes(8))]
    assert [each for each in png_chunks(_written(_png(*said), ".png")) if each in said] == said
    for suffix in (".jpg", ".webp", ".tif"):
        icc = decode_picture(_written(_png(*said[:2]), suffix), "it").metadata.icc
        assert icc is not None
        assert np.abs(_in_srgb(smooth(), icc) - smooth()).max() > 5
    with_profile = (b"iCCP", dict(png_chunks(_icc_png()))[b"iCCP"])
    both = _written(_png(with_profile, said[0]), ".jpg")
    assert decode_picture(both, "it").metadata.icc == PROFILE


def _icc_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(smooth()).save(buffer, "PNG", icc_profile=PROFILE)
    return buffer.getvalue()


@pytest.mark.parametrize(("codes", "hdr"), [(PQ, "PQ"), (bytes([9, 18, 0, 1]), "HLG"), (P3, None)])
def test_codes_go_from_png_to_avif_and_back(codes: bytes, hdr: str | None) -> None:
    source = _png((b"cICP", codes))
    avif = _written(source, ".avif")
    again = _written(_written(avif, ".avif"), ".png")
    assert dict(png_chunks(again))[b"cICP"] == codes
    for suffix in (".jpg", ".tif", ".webp", ".bmp") if hdr else ():
        with pytest.raises(ImageError, match=rf"it: is HDR \({hdr}\), which {suffix} cannot hold;"):
            _written(avif, suffix)
    if hdr is None:
        assert decode_picture(_written(avif, ".jpg"), "it").metadata.icc is not None


def test_srgb_avif_stays_without_a_profile() -> None:
    plain = cv2.imencode(".avif", smooth())[1].tobytes()
    assert decode_picture(_written(plain, ".jpg"), "it").metadata.icc is None


def test_grey_pictures_have_profiles_of_one_channel() -> None:
    linear = Metadata(colour=of_png({b"gAMA": struct.pack(">I", 100_000)}))
    grey = Picture(np.dstack([smooth()[..., 0]] * 3), grey=True, metadata=linear)
    icc = decode_picture(encode_picture(grey, ".jpg", "it"), "it").metadata.icc
    assert icc is not None
    assert icc[16:20] == b"GRAY"
