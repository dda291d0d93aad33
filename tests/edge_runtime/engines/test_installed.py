from importlib import metadata, util
from pathlib import Path

import onnxruntime
import pytest

from edge_runtime import machine, processor
from edge_runtime.engines import installed as engines
from edge_runtime.engines.installed import installed_engines, onnx_providers, with_options
from edge_runtime.engines.session import open_session
from edge_runtime.models.card import load_card

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"


@pytest.fixture
def fresh() -> None:
    installed_engines.cache_clear()


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
    installed_engines.cache_clear()
    present.clear()
    assert installed_engines() == {}
    installed_engines.cache_clear()


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([CPU], [CPU]),
        (["AzureExecutionProvider", CPU], [CPU]),
        ([TENSORRT, CUDA, CPU], [CUDA, CPU, TENSORRT]),
    ],
)
def test_providers(
    monkeypatch: pytest.MonkeyPatch, offered: list[str], expected: list[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    assert onnx_providers() == expected


def test_tensorrt_keeps_what_it_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path)
    assert with_options(CUDA) == [CUDA]
    (name, options), after = with_options(TENSORRT)
    assert (name, after) == (TENSORRT, CUDA)
    assert options["trt_engine_cache_path"] == str(tmp_path / "tensorrt")


def test_a_provider_that_cannot_be_set_up_leaves_the_cpu(
    model: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    real, asked = onnxruntime.InferenceSession, []

    def session(content: bytes, options: object, providers: object, **more: object) -> object:
        asked.append(providers)
        if len(asked) == 1:
            raise RuntimeError("no driver")
        return real(content, options, providers=providers, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    opened = open_session(Path(model), load_card(Path(model)), 1)
    assert opened.provider == CPU
    assert asked == [(CUDA, CPU), (CPU,)]
    assert capfd.readouterr() == ("", "")


def test_the_machine_by_its_board_or_its_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_BOARD", tmp_path / "model")
    assert machine.machine().cpu
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nx\t: y\n")
    assert machine.machine().cpu == "Some CPU @ 2 GHz"
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    here = machine.machine()
    assert here.cpu == "Raspberry Pi 5 Model B Rev 1.0"
    assert here.key == f"{here.cpu}, {here.cores} cores, {here.system}"
