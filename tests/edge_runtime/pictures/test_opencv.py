import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import decode_picture, encode_picture
from tests.helpers import smooth, srgb_profile

RGB = smooth(7, 13)[..., [1, 0, 2]] * 3
ALPHA = (RGB[..., :1] * 5) | 1
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
V5 = bytes(16) + b"BGRs" + bytes(64)


def _rows(pixels: NDArray[np.generic]) -> bytes:
    """Return rows from the last to the first, each filled up to four bytes."""
    return b"".join(row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in pixels[::-1])


def _info(bits: int, kind: int = 0, size: int = 40, height: int = 7) -> bytes:
    return struct.pack("<IiiHHIIiiII", size, 13, height, 1, bits, kind, 0, 0, 0, 0, 0)


def _core(bits: int) -> bytes:
    return struct.pack("<IHHHH", 12, 13, 7, 1, bits)


def _bmp(head: bytes, pixels: bytes, behind: bytes = b"") -> bytes:
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + pixels + behind


def _indices(bits: int) -> tuple[bytes, NDArray[np.uint8]]:
    numbers = np.arange(7 * 13).reshape(7, 13) * 37 % (1 << bits)
    digits = (numbers[..., None] >> np.arange(bits)[::-1]) & 1
    return _rows(np.packbits(digits.reshape(7, -1).astype(np.uint8), axis=1)), PALETTE[numbers]


def _packed(red: int, green: int, blue: int) -> tuple[bytes, NDArray[np.uint8]]:
    sizes = np.array([red, green, blue])
    parts = RGB.astype(int) >> (8 - sizes)
    packed = (parts << [green + blue, blue, 0]).sum(axis=2).astype("<u2")
    return _rows(packed), np.rint(parts * 255 / ((1 << sizes) - 1)).astype(np.uint8)


def _cases() -> dict[str, tuple[bytes, NDArray[np.uint8]]]:
    bgr = RGB[..., ::-1]
    four = _rows(np.dstack([bgr, np.zeros_like(ALPHA)]))
    swapped = struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)
    cases = {
        "os2": (_bmp(_core(24), _rows(bgr)), RGB),
        "os2-16": (_bmp(struct.pack("<IiiHH", 16, 13, 7, 1, 24), _rows(bgr)), RGB),
        "os2-64": (_bmp(_info(24, size=64) + bytes(24), _rows(bgr)), RGB),
        "24": (_bmp(_info(24), _rows(bgr)), RGB),
        "top-down": (_bmp(_info(24, height=-7), _rows(bgr[::-1])), RGB),
        "32": (_bmp(_info(32), four), RGB),
        "32-masks": (_bmp(_info(32, 3) + MASKS, four), RGB),
        "32-swapped": (_bmp(_info(32, 3) + swapped, _rows(np.dstack([RGB, ALPHA]))), RGB),
        "v5": (_bmp(_info(24, size=124) + V5, _rows(bgr)), RGB),
        "v5-alpha": (
            _bmp(
                _info(32, 3, 124) + MASKS + struct.pack("<I", 0xFF000000) + V5[16:],
                _rows(np.dstack([bgr, ALPHA])),
            ),
            np.dstack([RGB, ALPHA]),
        ),
        "v5-opaque": (_bmp(_info(32, 3, 124) + MASKS + bytes(4) + V5[16:], four), RGB),
    }
    fives, expected = _packed(5, 5, 5)
    cases["555"] = _bmp(_info(16), fives), expected
    six, expected = _packed(5, 6, 5)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    cases["565"] = _bmp(_info(16, 3) + masks, six), expected
    for bits in (1, 4, 8):
        rows, expected = _indices(bits)
        colours = PALETTE[: 1 << bits, ::-1]
        cases[f"os2-{bits}"] = _bmp(_core(bits) + colours.tobytes(), rows), expected
        padded = np.pad(colours, ((0, 0), (0, 1))).tobytes()
        cases[f"palette-{bits}"] = _bmp(_info(bits) + padded, rows), expected
    runs = b"".join(bytes([1, n]) for n in range(13)) + b"\0\0"
    padded = np.pad(PALETTE[:, ::-1], ((0, 0), (0, 1))).tobytes()
    rle = _bmp(_info(8, 1) + padded, runs * 6 + runs[:-1] + b"\1")
    cases["rle"] = rle, np.tile(PALETTE[:13], (7, 1, 1))
    return cases


@pytest.mark.parametrize("name", _cases())
def test_kinds_of_bmp(name: str) -> None:
    data, expected = _cases()[name]
    read = decode_picture(data, "it")
    found = read.rgb if read.alpha is None else np.dstack([read.rgb, read.alpha])
    np.testing.assert_array_equal(found, expected)
    for length in range(14, len(data) - 4, 31):
        with pytest.raises(ImageError, match=r"not a picture|megapixels"):
            decode_picture(data[:length], "it")


def test_colours_of_a_bmp_are_kept_as_a_profile() -> None:
    # Adobe RGB: X, Y and Z of red, green and blue, and a gamma of 2.2.
    ends = (0.5767, 0.2973, 0.0270, 0.1856, 0.6274, 0.0707, 0.1882, 0.0753, 0.9911)
    numbers = [round(each * (1 << 30)) for each in ends] + [round(2.2 * 65536)] * 3
    calibrated = _info(24, size=108) + bytes(20) + struct.pack("<9i3I", *numbers)
    rows, profile = _rows(RGB[..., ::-1]), srgb_profile()
    place = struct.pack("<IIII", 4, 124 + len(rows), len(profile), 0)
    embedded = _info(24, size=124) + bytes(16) + b"DEBM" + bytes(48) + place
    assert decode_picture(_bmp(embedded, rows, profile), "it").metadata.icc == profile
    read = decode_picture(_bmp(calibrated, rows), "it")
    icc = decode_picture(encode_picture(read, ".png", "it"), "it").metadata.icc
    assert icc is not None
    assert icc[16:20] == b"RGB "
