import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.engines.onnx_runtime import OnnxSession
from edge_runtime.engines.session import open_session
from edge_runtime.errors import MissingExtraError, SessionError
from edge_runtime.machine import physical_cores
from edge_runtime.metrics import psnr
from edge_runtime.models.card import ModelCard, load_card
from edge_runtime.models.catalog import find_model
from edge_runtime.pictures.picture import read_picture

EXAMPLE = Path(__file__).parents[3] / "examples" / "temple.jpg"
SaveModel = Callable[..., Path]


def _save(path: Path, node: onnx.NodeProto, *weights: onnx.TensorProto, **options: object) -> Path:
    shape = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, **options)
    return path


def test_runs_and_names_itself(save_model: SaveModel) -> None:
    path = save_model(gain=0.5)
    session = open_session(path, load_card(path), threads=1)
    batch = np.random.default_rng(0).random((1, 3, 8, 16), np.float32)
    np.testing.assert_array_equal(session.run(batch), batch * np.float32(0.5))
    assert session.provider == "CPUExecutionProvider"
    assert session.name.startswith("onnxruntime ")


@pytest.mark.parametrize("name", ["nano_int8", "small_int8", "base_int8"])
def test_int8_is_right_on_whatever_processor_this_is(name: str) -> None:
    artifact = find_model(name)
    unfused = onnxruntime.SessionOptions()
    unfused.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    engine = onnxruntime.InferenceSession(str(artifact), unfused, ["CPUExecutionProvider"])
    rainy = read_picture(EXAMPLE).rgb[100:196, 100:228]
    batch = np.float32(rainy.transpose(2, 0, 1)[None]) / np.float32(255)
    [wanted] = engine.run(None, {engine.get_inputs()[0].name: batch})
    derained = OnnxSession(artifact, 1).run(batch)
    assert psnr(_bytes(derained), _bytes(wanted)) > 45  # 20 to 30 where kernels saturate


def _bytes(batch: np.ndarray) -> np.ndarray:
    return np.rint(batch[0].transpose(1, 2, 0) * 255).astype(np.uint8)


def test_a_failing_run_is_one_line(save_model: SaveModel) -> None:
    session = OnnxSession(save_model(), 1)
    with pytest.raises(SessionError, match=r"failed on shape \(1, 3, 7, 8\)") as caught:
        session.run(np.zeros((1, 3, 7, 8), np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"junk" * 9])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(SessionError, match=r"a\.onnx: ONNX Runtime cannot open it"):
        OnnxSession(path)
    with pytest.raises(SessionError, match="cannot be read"):
        OnnxSession(tmp_path / "missing.onnx")


def test_external_data_is_refused_even_where_it_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    path = _save(
        tmp_path / "a.onnx",
        node,
        weight,
        save_as_external_data=True,
        location="a.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SessionError, match="keeps weights in other files"):
        OnnxSession(path)


def test_a_result_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.onnx", helper.make_node("Transpose", ["x"], ["y"]))
    session = OnnxSession(path, 1)
    with pytest.raises(SessionError, match=r"returned float32 \(4, 2, 3, 1\)"):
        session.run(np.zeros((1, 3, 2, 4), np.float32))


def test_one_input_and_one_output(tmp_path: Path) -> None:
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "abc"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "g", info[:2], info[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(SessionError, match="2 inputs and 1 outputs"):
        OnnxSession(tmp_path / "a.onnx")


def test_other_formats_have_no_engine(tmp_path: Path, card: ModelCard) -> None:
    values = {**vars(card), "format": "safetensors"}
    with pytest.raises(SessionError, match="no engine here reads 'safetensors'"):
        open_session(tmp_path / "a.safetensors", ModelCard(**values))


def test_a_missing_engine_answers_with_the_pip_line(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="pip install 'edge-derain'"):
        OnnxSession(save_model())


def test_physical_cores() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)
