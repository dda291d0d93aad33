import json
import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

import edge_runtime
from edge_runtime import errors


def test_every_public_name_resolves() -> None:
    for name in edge_runtime.__all__:
        assert getattr(edge_runtime, name) is not None
    with pytest.raises(AttributeError, match="Derainers"):
        _ = edge_runtime.Derainers  # type: ignore[attr-defined]


def test_importing_every_module_loads_no_engine_and_nothing_above() -> None:
    code = """
import importlib, pkgutil, sys
import edge_runtime
for module in pkgutil.walk_packages(edge_runtime.__path__, 'edge_runtime.'):
    importlib.import_module(module.name)
heavy = 'torch onnx tensorflow onnxruntime tqdm core compress export'.split()
print(set(heavy) & sys.modules.keys(), 'edge_runtime.pictures.formats' in sys.modules)
"""
    root = Path(edge_runtime.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("set() True", "")


@pytest.mark.parametrize(
    ("package", "extra", "line"),
    [
        ("ai-edge-litert", "tflite", "pip install ai-edge-litert"),
        ("av", "video", "pip install av"),
        ("onnxruntime", "", "pip install onnxruntime"),
        ("torch", "train", "pip install torch"),
    ],
)
def test_missing_extra_carries_the_pip_line(package: str, extra: str, line: str) -> None:
    assert str(errors.MissingExtraError(package, extra)).endswith(f"; run: {line}")


def test_the_pip_line_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("torch", "onnx", "jsonargparse", "numpy"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    line = str(errors.MissingExtraError("onnx", "export")).partition("pip install ")[2]
    wanted = shlex.split(line)
    assert {requirement[:5] for requirement in wanted} == {"torch", "onnx>", "jsona"}
    assert "jsonargparse[signatures]>=4.49" in wanted
    assert str(errors.MissingExtraError("numpy", "")).endswith("pip install 'numpy>=1.26'")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.EdgeDerainError, 1),
        (errors.ImageError, 1),
        (errors.UsageError, 2),
        (errors.ModelNotFoundError, 2),
    ],
)
def test_exit_codes(error: type[errors.EdgeDerainError], code: int) -> None:
    assert issubclass(error, errors.EdgeDerainError)
    assert error.exit_code == code


def test_a_metric_error_is_a_value_error() -> None:
    assert issubclass(errors.MetricError, ValueError)


MODULES = 26

_SCRIPT = """
import json, sys
import pyvips
opened, loads, call = [], [], pyvips.Operation.call
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)

def counted(name, *arguments, **options):
    loads.extend([name] * name.endswith("load_buffer"))
    return call(name, *arguments, **options)

pyvips.Operation.call = counted
from edge_runtime.cli import main
assert main(sys.argv[1:]) == 0
print(json.dumps({
    "modules": sorted(name for name in sys.modules if name.split(".")[0] == "edge_runtime"),
    "files": [str(name) for name in opened],
    "loads": loads,
}))
"""


def test_reading_and_writing_a_picture_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "navy").save(tmp_path / "a.jpg")
    code = (
        "from edge_runtime.pictures.picture import read_picture, write_picture\n"
        "write_picture('b.jpg', read_picture('a.jpg'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_picture_takes_few_modules_one_card_and_one_look(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a street"
    Image.new("RGB", (40, 30), "navy").save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "a.jpg", "--model", "small"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    cards = [Path(name).name for name in found["files"] if name.endswith(".onnx.json")]
    assert cards == ["small_fp32.onnx.json"]
    assert found["loads"] == ["jpegload_buffer"]
    assert len(found["modules"]) <= MODULES, found["modules"]
