"""The ONNX model: names, sizes, parity with torch, and what must not be in it."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.networks import ARCHITECTURES, Architecture
from core.networks.student import StudentConfig
from export.errors import ExportError
from export.graph import ExportGraph
from export.to_onnx import OPSET, to_onnx


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> onnx.ModelProto:
    return to_onnx(checkpoint)


@pytest.fixture(scope="module")
def run(model: onnx.ModelProto) -> Callable[[Tensor], np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda rainy: session.run(["derained"], {"rainy": rainy.numpy()})[0]


@pytest.mark.parametrize(
    "shape", [(1, 4, 4), (1, 4, 12), (2, 20, 28), (3, 12, 4), (1, 100, 36), (1, 256, 160)]
)
def test_one_session_equals_torch_at_any_legal_size(
    checkpoint: Checkpoint, run: Callable[[Tensor], np.ndarray], shape: tuple[int, int, int]
) -> None:
    batch, height, width = shape
    rainy = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = checkpoint.build()(rainy).clamp(0, 1).numpy()
    assert np.abs(run(rainy) - wanted).max() < 1e-6


def test_the_result_is_clamped(run: Callable[[Tensor], np.ndarray]) -> None:
    derained = run(torch.full((1, 3, 8, 8), 3.0))
    assert derained.max() == 1
    assert run(torch.full((1, 3, 8, 8), -3.0)).min() == 0


def test_the_torch_graph_is_clamped() -> None:
    rainy = torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1)
    assert ExportGraph(nn.Identity())(rainy).flatten().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("side", ["input", "output"])
def test_tensors_are_named_and_dynamic(model: onnx.ModelProto, side: str) -> None:
    (tensor,) = getattr(model.graph, side)
    assert tensor.name == {"input": "rainy", "output": "derained"}[side]
    assert tensor.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    sizes = tensor.type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in sizes] == ["batch", 3, "height", "width"]


def test_the_graph_holds_nothing_but_the_network(model: onnx.ModelProto) -> None:
    operations = {node.op_type for node in model.graph.node}
    assert operations == {"Conv", "ConvTranspose", "Relu", "Add", "Clip"}
    assert not model.graph.value_info
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert model.producer_name == "edge-derain"


def test_weights_are_inside(model: onnx.ModelProto) -> None:
    assert model.graph.initializer
    for tensor in model.graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        assert not tensor.external_data


def test_no_path_of_this_machine_is_inside(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    for text in (".py", sys.prefix, str(Path(__file__).parents[2]), str(Path.home()) + "/"):
        assert text.encode() not in content


def test_an_operation_that_onnx_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spectral(nn.Module):
        def __init__(self, config: StudentConfig) -> None:
            super().__init__()

        def forward(self, rainy: Tensor) -> Tensor:
            return torch.linalg.pinv(rainy)

    monkeypatch.setitem(ARCHITECTURES, "spectral", Architecture(StudentConfig, Spectral))
    with pytest.raises(ExportError, match="odd: spectral cannot be held by ONNX") as caught:
        to_onnx(Checkpoint("odd", "student", "spectral", StudentConfig(), {}))
    assert "\n" not in str(caught.value)
    assert "pinv" in str(caught.value)
