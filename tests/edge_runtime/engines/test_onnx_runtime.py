from pathlib import Path

import onnxruntime
import pytest

from edge_runtime.derainer import open_session
from edge_runtime.engines import onnx_runtime
from edge_runtime.engines.onnx_runtime import OnnxSession, onnx_providers, with_options
from edge_runtime.models.card import load_card
from edge_runtime.models.catalog import find_model

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"


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
    monkeypatch.setattr(onnx_runtime, "cache_folder", lambda: tmp_path)
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


@pytest.mark.parametrize("dot_products", [True, False])
def test_int8_kernels_are_taken_only_where_they_do_not_saturate(
    monkeypatch: pytest.MonkeyPatch, dot_products: bool
) -> None:
    real, opened = onnxruntime.InferenceSession, []

    def session(content: bytes, options: onnxruntime.SessionOptions, **more: object) -> object:
        opened.append(options)
        return real(content, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnx_runtime, "has_int8_dot_products", lambda: dot_products)
    OnnxSession(find_model("nano_int8"), 1)
    (options,) = opened
    if dot_products:
        with pytest.raises(RuntimeError, match="disable_quant_qdq"):
            options.get_session_config_entry("session.disable_quant_qdq")
    else:
        assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
