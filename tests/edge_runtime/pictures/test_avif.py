import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, features

from edge_runtime.pictures.avif import is_avif, read_properties

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
Noise = Callable[..., np.ndarray]


def _encoded(size: tuple[int, int] = (40, 24), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "navy").save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _encoded(exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_and_mirrors_are_those_of_exif(orientation: int) -> None:
    properties = read_properties(_turned(orientation))
    assert properties.orientation == orientation
    assert properties.size == (40, 24)


def test_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_properties(_encoded(icc_profile=profile)).icc == profile
    assert read_properties(_encoded()).icc is None


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_depth_and_losslessness(depth: int) -> None:
    pixels = np.full((8, 8, 3), 99, np.uint8 if depth == 8 else np.uint16)
    for quality, lossless in ((90, False), (100, True)):
        flags = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, quality]
        properties = read_properties(cv2.imencode(".avif", pixels, flags)[1].tobytes())
        assert (properties.depth, properties.lossless) == (depth, lossless)


def test_what_is_no_avif() -> None:
    assert is_avif(_encoded())
    assert not is_avif(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    assert not is_avif(b"")


def test_damaged_boxes_end() -> None:
    data = _encoded()
    for length in range(0, len(data), 5):
        read_properties(data[:length])
    nested = b"".join(b"\xff\xff\xff\xffmeta\0\0\0\0" for _ in range(20_000))
    assert read_properties(nested).size is None
    assert read_properties(bytes(8) * 4).size is None
