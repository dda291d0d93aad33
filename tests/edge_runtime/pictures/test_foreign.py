import pytest

from edge_runtime.errors import ImageError
from edge_runtime.pictures.picture import decode_picture

CONVERT = ", which is not read; convert it to JPEG or PNG"
RAW = "is a raw photograph" + CONVERT
VIDEO, PAGE = "is a video, not a picture; give it a name", "is a web page, not a picture; download"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC" + CONVERT),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "is HEIC" + CONVERT),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", RAW),
        (b"II*\0\x10\0\0\0CR\2\0", RAW),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is JPEG XL" + CONVERT),
        (b"\xff\x0a\xfa\x7f\1", "is JPEG XL" + CONVERT),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is JPEG 2000" + CONVERT),
        (b"GIF89a", "is GIF" + CONVERT),
        (b"8BPS\0\1", "is a Photoshop document" + CONVERT),
        (b"%PDF-1.7", "is PDF" + CONVERT),
        (b"v/1\1\2\0\0\0", "is OpenEXR" + CONVERT),
        (b"#?RADIANCE\n", "is Radiance HDR" + CONVERT),
        (b"<?xml version='1.0'?>\n<!-- a --><svg xmlns='x'>", "is SVG" + CONVERT),
        (b"\n<!DOCTYPE html>\n<html><svg>", PAGE),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", VIDEO),
        (b"\x1aE\xdf\xa3\x01", VIDEO),
        (b"\0\0\0\1\x67\x42\xc0", VIDEO),
        (b"<" + b"<!---->" * 500, "not a picture that can be read; use JPEG, PNG, "),
        (b"# Read me\n", "not a picture that can be read; use JPEG, PNG, WebP, TIFF, BMP or AVIF"),
    ],
)
def test_other_formats_are_named(content: bytes, message: str) -> None:
    with pytest.raises(ImageError) as raised:
        decode_picture(content, "a.jpg")
    assert str(raised.value).startswith(f"a.jpg: {message}")
