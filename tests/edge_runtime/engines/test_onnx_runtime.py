import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.derainer import open_session
from edge_runtime.engines import onnx_runtime
from edge_runtime.engines.onnx_runtime import OnnxSession, onnx_providers, with_options
from edge_runtime.errors import SessionError
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
    off: list[bool] = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: off.append(True))
    opened = open_session(Path(model), load_card(Path(model)), 1)
    assert off
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


@pytest.mark.parametrize(
    ("element", "shape", "value", "said"),
    [
        (TensorProto.FLOAT, ["n"], 1.0, "'x' is tensor(float) ['n'], and must be float32 NCHW"),
        (TensorProto.FLOAT, ["n", 3, "h", 64], 1.0, "height and width both fixed or both free"),
        (TensorProto.FLOAT, ["n", 3, 64, "w"], 1.0, "height and width both fixed or both free"),
        (TensorProto.UINT8, ["n", 64, "w", 3], 1.0, "height and width both fixed or both free"),
        (TensorProto.DOUBLE, ["n", 3, "h", "w"], 1.0, "'x' is tensor(double)"),
        (TensorProto.FLOAT, ["n", 3, "h", "w"], math.nan, "returned pixels that are not finite"),
        (TensorProto.FLOAT, ["n", 3, "h", "w"], math.inf, "returned pixels that are not finite"),
    ],
)
def test_models_that_give_no_pictures(
    tmp_path: Path, element: int, shape: list[object], value: float, said: str
) -> None:
    kind = helper.tensor_dtype_to_np_dtype(element)
    factor = numpy_helper.from_array(np.array(value, kind), "factor")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, shape)],
        [factor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SessionError) as error:
        OnnxSession(path, 1).run(np.full((1, 3, 8, 8), 0.5, np.float32))
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


def test_a_run_calls_nobody_and_leaves_no_trace(tmp_path: Path, model: str) -> None:
    code = """
import ctypes, platform, struct, sys
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # socket(2), which ends the process
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
program = Program(len(steps), ctypes.addressof(code))
assert libc.prctl(22, 2, ctypes.byref(program)) == 0  # filter of system calls
import numpy as np
from edge_runtime.engines.onnx_runtime import OnnxSession
from pathlib import Path
for _ in range(3):
    OnnxSession(Path(sys.argv[1]), 1).run(np.zeros((1, 3, 8, 8), np.float32))
if sys.argv[2:]:
    import socket
    socket.socket()
"""
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, model]
    root = Path(onnx_runtime.__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root)
    assert done.returncode == 0
    assert not (tmp_path / "cache").exists()
    assert subprocess.run([*command, "call"], env=environment, cwd=root).returncode != 0
