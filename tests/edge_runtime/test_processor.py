from pathlib import Path

import pytest

from edge_runtime import processor
from edge_runtime.processor import has_int8_dot_products


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("Features\t: fp asimd crc32\n", False),
        ("flags\t\t: avx512_vnni_not\n", False),
        (None, False),
    ],
)
def test_dot_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str | None, expected: bool
) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}")
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("sys.platform", "linux")
    assert has_int8_dot_products() is expected
