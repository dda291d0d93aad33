import io

import pytest
from PIL import Image

from edge_runtime.pictures.jpeg import jpeg_density, jpeg_quality, jpeg_size


def _encoded(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (9, 5), "navy" if mode == "RGB" else 9).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", range(1, 101))
def test_quality_of_libjpeg_is_found_exactly(quality: int) -> None:
    assert jpeg_quality(_encoded(quality=quality)) == quality


def test_quality_of_other_tables_is_the_nearest() -> None:
    half_way = [[16] * 64, [17] * 64]
    assert 70 <= (jpeg_quality(_encoded(qtables=half_way)) or 0) <= 95
    assert jpeg_quality(_encoded("L", quality=33)) == 33
    assert jpeg_quality(b"\xff\xd8\xff\xd9") is None


@pytest.mark.parametrize(("dpi", "expected"), [((300, 150), (300, 150)), (None, None)])
def test_density(dpi: tuple[int, int] | None, expected: tuple[float, float] | None) -> None:
    assert jpeg_density(_encoded(**({"dpi": dpi} if dpi else {}))) == expected


def test_density_in_centimetres() -> None:
    data = bytearray(_encoded(dpi=(100, 100)))
    data[13] = 2
    assert jpeg_density(bytes(data)) == (254, 254)


@pytest.mark.parametrize("length", range(0, 300, 7))
def test_a_header_cut_short(length: int) -> None:
    data = _encoded(dpi=(72, 72))[:length]
    assert jpeg_size(data) in (None, (9, 5))
    assert jpeg_quality(data) in (None, 75)
    assert jpeg_density(data) in (None, (72, 72))
