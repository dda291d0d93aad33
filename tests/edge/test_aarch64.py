"""The check on an emulated board: what it compares, and that it says why it does not run."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.models.catalog import list_models
from edge_runtime.pictures.picture import Picture, write_picture
from tests.edge import outputs

SCRIPT = Path(__file__).parent / "aarch64.sh"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with equal results of two artifacts and of one command."""
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(3, 4, 4)
    found = tmp_path / "here", tmp_path / "there"
    for folder in found:
        folder.mkdir()
        np.save(folder / "small_fp32.onnx.npy", values)
        np.save(folder / "small_int8.tflite.npy", values)
        write_picture(folder / "onnx_fp32.png", Picture(np.full((4, 4, 3), 100, np.uint8)))
    return found


def test_equal_results_pass(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert outputs.compare(*folders) == 0
    assert capsys.readouterr().out.splitlines() == [
        "onnx_fp32.png: differs by up to 0 of 1, mean 0",
        "small_fp32.onnx.npy: differs by up to 0 of 1e-05, mean 0",
        "small_int8.tflite.npy: differs by up to 0 of 0.05, mean 0",
    ]


@pytest.mark.parametrize(
    ("name", "off", "code"),
    [
        ("small_fp32.onnx.npy", 8e-6, 0),
        ("small_fp32.onnx.npy", -2e-5, 1),
        ("small_int8.tflite.npy", 0.04, 0),
        ("small_int8.tflite.npy", -0.06, 1),
        ("small_int8.tflite.npy", np.nan, 1),
    ],
)
def test_one_value_that_is_off(
    folders: tuple[Path, Path], name: str, off: float, code: int
) -> None:
    values = np.load(folders[1] / name)
    values[1, 2, 3] += off
    np.save(folders[1] / name, values)
    assert outputs.compare(*folders) == code


@pytest.mark.parametrize(("level", "code"), [(99, 0), (101, 0), (98, 1), (102, 1)])
def test_a_picture_that_is_off(folders: tuple[Path, Path], level: int, code: int) -> None:
    pixels = np.full((4, 4, 3), 100, np.uint8)
    pixels[0, 0, 0] = level
    write_picture(folders[1] / "onnx_fp32.png", Picture(pixels))
    assert outputs.compare(*folders) == code


def test_missing_results_fail(folders: tuple[Path, Path]) -> None:
    (folders[1] / "onnx_fp32.png").unlink()
    assert outputs.compare(*folders) == 1
    empty = folders[0].parent / "empty"
    empty.mkdir()
    assert outputs.compare(empty, empty) == 1


def test_every_kind_of_artifact_has_a_limit() -> None:
    assert {card.precision for _, card in list_models()} <= set(outputs.LARGEST)


def test_what_an_artifact_makes_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [(path, card) for path, card in list_models() if path.stem == "nano_fp32"]
    monkeypatch.setattr(outputs, "list_models", lambda: models)
    pixels = np.random.default_rng(0).integers(0, 256, (39, 50, 3), np.uint8)
    write_picture(tmp_path / "a.png", Picture(pixels))
    (tmp_path / "out").mkdir()
    outputs.write(tmp_path / "a.png", tmp_path / "out")
    found = np.load(tmp_path / "out" / "nano_fp32.onnx.npy")
    assert (found.shape, found.dtype) == ((3, 32, 48), np.float32)
    assert 0 <= found.min() < found.max() <= 1
    assert capsys.readouterr().out.startswith("nano_fp32.onnx: onnxruntime ")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_machine_without_the_tools_says_so(tmp_path: Path) -> None:
    for tool in ("dirname", "uname"):
        source = shutil.which(tool)
        assert source is not None
        (tmp_path / tool).symlink_to(source)
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, str(SCRIPT)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in (
        "SKIPPED: tests/edge/aarch64.sh: mmdebstrap is not installed\n",
        "SKIPPED: tests/edge/aarch64.sh: needs Linux\n",
    )
