import io
import struct

import pytest
from PIL import Image

from edge_runtime.pictures.png import chunk, chunks, png_size


def _encoded() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 5), "navy").save(buffer, "PNG", dpi=(72, 72))
    return buffer.getvalue()


def test_chunks() -> None:
    data = _encoded()
    kinds = [kind for kind, _, _ in chunks(data)]
    assert kinds == [b"IHDR", b"pHYs", b"IDAT", b"IEND"]
    rebuilt = data[:8] + b"".join(chunk(kind, data[i:j]) for kind, i, j in chunks(data))
    assert rebuilt == data
    assert list(chunks(data + b"appended"))[-1][0] == b"IEND"
    with pytest.raises(ValueError, match="longer than the file"):
        list(chunks(data[:70]))


@pytest.mark.parametrize("length", range(0, 90, 3))
def test_a_file_cut_short_has_no_size(length: int) -> None:
    assert png_size(_encoded()[:length]) is None


def test_a_chunk_that_claims_gigabytes_is_not_handed_to_the_decoder() -> None:
    data = bytearray(_encoded())
    assert png_size(bytes(data)) == (9, 5)
    struct.pack_into(">I", data, 33, 0xFFFF0000)
    assert png_size(bytes(data)) is None
