from importlib import metadata, util
from pathlib import Path

import onnxruntime
import pytest

from edge_runtime.machine import (
    has_int8_dot_products,
    installed_backends,
    installed_engines,
    machine,
)


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
    monkeypatch.setattr("sys.platform", "linux")
    assert has_int8_dot_products(tmp_path / "cpuinfo") is expected


@pytest.fixture
def fresh() -> None:
    installed_backends.cache_clear()


def test_the_engine_says_of_itself_what_is_said_of_it(fresh: None) -> None:
    assert installed_engines()["onnx"] == f"onnxruntime {onnxruntime.__version__}"


def test_versions_of_other_distributions(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"onnxruntime", "tensorflow"}
    versions = {"onnxruntime-gpu": "1.20.1"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError
        return versions[name]

    monkeypatch.setattr(util, "find_spec", lambda name: name if name in present else None)
    monkeypatch.setattr(metadata, "version", version)
    assert installed_engines() == {
        "onnx": "onnxruntime-gpu 1.20.1",
        "tflite": "tensorflow of unknown version",
    }
    installed_backends.cache_clear()
    present.clear()
    assert installed_engines() == {}
    installed_backends.cache_clear()


def test_the_machine_by_its_board_or_its_processor(tmp_path: Path) -> None:
    info, board = tmp_path / "cpuinfo", tmp_path / "model"
    assert machine(info=info, board=board).cpu
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nx\t: y\n")
    assert machine(info=info, board=board).cpu == "Some CPU @ 2 GHz"
    board.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    here = machine(info=info, board=board)
    assert here.cpu == "Raspberry Pi 5 Model B Rev 1.0"
    assert here.key == f"{here.cpu}, {here.cores} cores, {here.system}"
