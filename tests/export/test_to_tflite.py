"""TFLite files: parity with torch per architecture and precision, and what is inside them."""

import collections
import dataclasses
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.networks import ARCHITECTURES, Architecture
from core.networks.gan_lstm import GanLstmConfig
from core.networks.jorder import JorderConfig
from core.networks.student import StudentConfig
from core.quantization import Placement, Quantization, TensorScale
from edge_runtime.engines.litert import TfliteSession
from edge_runtime.metrics import psnr
from export.errors import ExportError
from export.graph import ExportGraph, Precision
from export.tflite.writer import schema
from export.to_tflite import to_tflite
from tests.export.conftest import TEACHERS, int8_of, make_teacher

CASES = {
    **TEACHERS,
    "student": (
        "student",
        StudentConfig(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,)),
    ),
    "pruned student": (
        "student",
        StudentConfig((8, 16, 24), (1, 1, 1), (1, 1), ((8,), (24,), (8,)), ((8,), (16,))),
    ),
    "pyramid at a quarter": (
        "gan_lstm",
        GanLstmConfig(
            width=8, stages=3, blocks=3, body_scale=4, body_depth=1, radius=2, eps=1e-3,
            residual_output=True, entry_width=12, squeeze_widths=(4, 6, 2),
        ),
    ),
    "jorder": (
        "jorder",
        JorderConfig(width=8, stages=2, refinements=2, path_widths=(8, 4, 8)),
    ),
    "shared blocks": (
        "gan_lstm",
        GanLstmConfig(
            width=4, stages=2, blocks=2, share_blocks=True, recurrent=False, attention="none",
            base_layer=False,
        ),
    ),
}  # fmt: skip
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "dynamic", "int8")
LIMITS = {"fp32": 5e-7, "fp16": 3e-4, "dynamic": 5e-3, "int8": 5e-3}

Run = Callable[[Tensor], np.ndarray]


def _at(case: str, precision: Precision) -> Checkpoint:
    checkpoint = make_teacher(*CASES[case])
    return int8_of(checkpoint) if precision == "int8" else checkpoint


def _runner(content: bytes, folder: Path) -> Run:
    path = folder / "a.tflite"
    path.write_bytes(content)
    session = TfliteSession(path, 1)
    return lambda rainy: session.run(rainy.numpy())


def _torch(checkpoint: Checkpoint, rainy: Tensor) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = ExportGraph(checkpoint.build())(rainy).numpy()
    return result


def _smooth(count: int, height: int, width: int) -> Tensor:
    coarse = torch.rand(count, 3, 3, 4, generator=torch.Generator().manual_seed(2))
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def _operations(content: bytes) -> collections.Counter[str]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    model = schema.ModelT.InitFromPackedBuf(content)
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return collections.Counter(codes[op.opcodeIndex] for op in model.subgraphs[0].operators)


@pytest.fixture(scope="module")
def int8(checkpoint: Checkpoint) -> Checkpoint:
    return int8_of(checkpoint)


@pytest.fixture(scope="module")
def tensors(int8: Checkpoint) -> dict[str, Any]:
    """Return the tensors of an int8 file by name, each with its data."""
    model = schema.ModelT.InitFromPackedBuf(to_tflite(int8, "int8"))
    found = {}
    for tensor in model.subgraphs[0].tensors:
        tensor.data = model.buffers[tensor.buffer].data
        found[tensor.name.decode()] = tensor
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_one_interpreter_equals_torch_at_any_legal_size(
    case: str, precision: Precision, tmp_path: Path
) -> None:
    checkpoint = _at(case, precision)
    content = to_tflite(checkpoint, precision)
    run, multiple = _runner(content, tmp_path), checkpoint.config.size_multiple
    for count, rows, columns in ((1, 1, 1), (2, 5, 3), (1, 3, 13), (2, 5, 3)):
        rainy = _smooth(count, rows * multiple, columns * multiple)
        wanted = _torch(checkpoint, rainy)
        assert np.abs(run(rainy) - wanted).max() < LIMITS[precision]
    moved = np.abs(wanted - rainy.numpy()).max()
    assert moved > 10 * LIMITS[precision]  # or the limit would say nothing
    operations = _operations(content)
    assert not {"TRANSPOSE", "TRANSPOSE_CONV", "SHAPE", "RESHAPE"} & operations.keys()


def test_noise_in_int8_is_as_close(int8: Checkpoint, tmp_path: Path) -> None:
    rainy = torch.rand(1, 3, 48, 80, generator=torch.Generator().manual_seed(3))
    found = _runner(to_tflite(int8, "int8"), tmp_path)(rainy)
    pictures = [np.round(each * 255).astype(np.uint8)[0] for each in (found, _torch(int8, rainy))]
    assert psnr(*(picture.transpose(1, 2, 0) for picture in pictures)) > 60


def test_the_result_is_clamped(checkpoint: Checkpoint, tmp_path: Path) -> None:
    run = _runner(to_tflite(checkpoint, "fp32"), tmp_path)
    assert run(torch.full((1, 3, 8, 8), 3.0)).max() == 1
    assert run(torch.full((1, 3, 8, 8), -3.0)).min() == 0


def test_the_graph_holds_nothing_but_the_network(checkpoint: Checkpoint) -> None:
    operations = _operations(to_tflite(checkpoint, "fp32"))
    layers = len(Placement(checkpoint.build()).layers)
    assert operations == {
        "SPACE_TO_DEPTH": 1,  # before the entry
        "CONV_2D": layers,
        "DEPTH_TO_SPACE": 2,  # up, and the exit
        "ADD": 5,  # three blocks, one skip, the rainy picture
        "RELU_0_TO_1": 1,
    }


def test_numbers_become_codes_once_and_codes_numbers_once(int8: Checkpoint) -> None:
    plain = _operations(to_tflite(int8.unquantized(), "fp32"))
    assert _operations(to_tflite(int8, "int8")) - plain == {
        "QUANTIZE": 1,  # the rainy picture, for the entry
        "DEQUANTIZE": 1,  # what is added to it; all sums between are of codes
    }


class OddNet(nn.Module):
    """Does to a picture what no architecture does: a test puts it into ``compute``."""

    compute: Callable[["OddNet", Tensor], Tensor]

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, rainy: Tensor) -> Tensor:
        return type(self).compute(self, rainy)


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    monkeypatch.setitem(ARCHITECTURES, "odd", Architecture(StudentConfig, OddNet))
    turned = -torch.eye(3).reshape(3, 3, 1, 1)
    weights = {"layer.weight": turned, "layer.bias": torch.full((3,), 0.5)}
    return Checkpoint("net", "student", "odd", StudentConfig(), weights)


def _relu_beside(net: OddNet, rainy: Tensor) -> Tensor:
    features = net.layer(rainy)
    return torch.relu(features) + features


@pytest.mark.parametrize(
    "compute",
    [
        _relu_beside,
        lambda net, x: nn.functional.avg_pool2d(x, (1, 3), 1, (0, 1), count_include_pad=False),
        lambda net, x: nn.functional.pad(x, (1, 2, 3, 4))[:, :, 2:-5, :-3],
        lambda net, x: 2 * x - x / 4 + 0.1,
        lambda net, x: nn.functional.leaky_relu(net.layer(x), 0.3) + 0.2,
    ],
)
def test_what_no_architecture_does(
    odd: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: Any
) -> None:
    monkeypatch.setattr(OddNet, "compute", compute, raising=False)
    rainy = _smooth(1, 16, 24)
    found = _runner(to_tflite(odd, "fp32"), tmp_path)(rainy)
    wanted = _torch(odd, rainy)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < LIMITS["fp32"]


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_tensors_are_named_and_dynamic(checkpoint: Checkpoint, side: str) -> None:
    model = schema.ModelT.InitFromPackedBuf(to_tflite(checkpoint, "fp32"))
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    (index,) = getattr(graph, side)
    name = {"inputs": b"rainy", "outputs": b"derained"}[side]
    assert graph.tensors[index].name == name
    assert list(graph.tensors[index].shapeSignature) == [-1, -1, -1, 3]
    assert graph.tensors[index].type == schema.TensorType.FLOAT32
    (mapping,) = getattr(signature, side)
    assert (mapping.name, mapping.tensorIndex) == (name, index)
    names = [tensor.name for tensor in graph.tensors]
    assert len(names) == len(set(names))


def test_equal_checkpoints_give_equal_bytes(int8: Checkpoint) -> None:
    for precision in PRECISIONS:
        assert to_tflite(int8, precision) == to_tflite(int8, precision)


def test_no_path_of_this_machine_is_inside(int8: Checkpoint) -> None:
    content = to_tflite(int8, "int8")
    for text in (".py", sys.prefix, str(Path(__file__).parents[2]), str(Path.home()) + "/"):
        assert text.encode() not in content


def test_weights_take_as_many_bytes_as_their_precision() -> None:
    config = StudentConfig((16, 32), (1, 1), (1,))  # nearly all of it in layers of 1024 and more
    quantized = int8_of(make_teacher("student", config))
    sizes = {precision: len(to_tflite(quantized, precision)) for precision in PRECISIONS}
    weights = sum(each.numel() for name, each in quantized.weights.items() if "weight" in name)
    assert 4 * weights < sizes["fp32"] < 4 * weights + 12_000
    assert 2 * weights < sizes["fp16"] < 2 * weights + 14_000
    assert 1 * weights < sizes["dynamic"] < 1 * weights + 22_000
    assert 1 * weights < sizes["int8"] < 1 * weights + 12_000  # equal vectors stand in it once


def test_weights_are_the_codes_of_the_record(int8: Checkpoint, tensors: dict[str, Any]) -> None:
    assert int8.quantization is not None
    for layer, scales in int8.quantization.weights.items():
        tensor = tensors[f"{layer}.weight"]
        assert tensor.type == schema.TensorType.INT8
        quantization = tensor.quantization
        repeats = len(quantization.scale) // len(scales)
        np.testing.assert_array_equal(quantization.scale, np.tile(np.float32(scales), repeats))
        assert not quantization.zeroPoint.any()
        assert quantization.quantizedDimension == 0
        codes = tensor.data.view(np.int8)
        assert codes.max() == 127 or codes.min() == -127
        assert codes.min() > -128
        real = codes.reshape(tensor.shape) * quantization.scale.reshape(-1, 1, 1, 1)
        weight = int8.weights[f"{layer}.weight"].numpy()
        assert real.size == weight.size
        step = max(scales)
        assert abs(np.sort(real.ravel()) - np.sort(weight.ravel())).max() <= step / 2 * 1.001


def test_activations_have_the_scales_of_the_record(
    int8: Checkpoint, tensors: dict[str, Any]
) -> None:
    assert int8.quantization is not None
    found = collections.Counter(
        (float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
        for tensor in tensors.values()
        if tensor.type == schema.TensorType.INT8 and ".weight" not in tensor.name.decode()
    )
    wanted = {
        (float(np.float32(stored.scale)), stored.zero_point)
        for stored in int8.quantization.activations.values()
    }
    assert found.keys() == wanted


def test_biases_are_sums_of_the_input_scale_times_the_weight_scale(
    int8: Checkpoint, tensors: dict[str, Any]
) -> None:
    exact = int8.build()  # its biases are rounded to whole sums
    assert int8.quantization is not None
    for layer in int8.quantization.weights:
        tensor = tensors[f"{layer}.bias"]
        assert tensor.type == schema.TensorType.INT32
        real = tensor.data.view(np.int32) * tensor.quantization.scale
        bias = exact.get_submodule(layer).bias.detach().numpy()
        np.testing.assert_allclose(real[: len(bias)], bias, rtol=1e-5, atol=1e-9)


def test_float_layers_stay_float(int8: Checkpoint, tmp_path: Path) -> None:
    record = int8.quantization
    assert record is not None
    layer = "encoder.0.0.first"
    weights = {name: scales for name, scales in record.weights.items() if name != layer}
    stored = Placement(int8.unquantized().build(), weights).stored.values()
    activations = {name: record.activations.get(name, TensorScale(0.02, 0)) for name in stored}
    quantization = Quantization("int8", activations, weights, (layer,))
    mixed = dataclasses.replace(int8, quantization=quantization)
    content = to_tflite(mixed, "int8")
    rainy = _smooth(1, 20, 28)
    found, wanted = _runner(content, tmp_path)(rainy), _torch(mixed, rainy)
    assert np.abs(found - wanted).max() < LIMITS["int8"]
    model = schema.ModelT.InitFromPackedBuf(content)
    floats = {
        tensor.name.decode()
        for tensor in model.subgraphs[0].tensors
        if tensor.type == schema.TensorType.FLOAT32 and tensor.name.endswith(b".weight")
    }
    assert floats == {f"{layer}.weight"}


def test_int8_pictures(int8: Checkpoint, tmp_path: Path) -> None:
    content = to_tflite(int8, "int8", "int8")
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        assert tensor.type == schema.TensorType.INT8
        assert tensor.quantization.scale == np.float32(1 / 255)
        assert tensor.quantization.zeroPoint == -128
    rainy = (_smooth(1, 20, 28) * 255).round() / 255
    found, wanted = _runner(content, tmp_path)(rainy), _torch(int8, rainy)
    assert np.abs(found - wanted).max() < LIMITS["int8"] + 0.5 / 255
    np.testing.assert_allclose(found * 255, np.round(found * 255), atol=1e-4)


def test_int8_pictures_need_int8(int8: Checkpoint) -> None:
    with pytest.raises(ExportError, match="io int8 needs precision int8, not fp16"):
        to_tflite(int8, "fp16", "int8")


def test_int8_needs_scales(checkpoint: Checkpoint) -> None:
    with pytest.raises(ExportError, match="tiny: is fp32 and has no int8 scales"):
        to_tflite(checkpoint, "int8")


def test_a_dead_relu_in_the_attention_runs_in_int8(tmp_path: Path) -> None:
    config = GanLstmConfig(width=4, stages=1, blocks=1, base_layer=False)
    checkpoint = make_teacher("gan_lstm", config)
    checkpoint.weights["body.0.attention.squeeze.bias"].fill_(-100)
    checkpoint = int8_of(checkpoint)
    rainy = _smooth(1, 9, 7)
    found = _runner(to_tflite(checkpoint, "int8"), tmp_path)(rainy)
    assert np.abs(found - _torch(checkpoint, rainy)).max() < LIMITS["int8"]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (torch.linalg.pinv, "operation .*pinv.* is not mapped to TFLite"),
        (lambda x: torch.cat([x], out=x), r"operation .*cat.* is mapped to TFLite without that"),
        (lambda x: nn.functional.avg_pool2d(x, 3, 1, 1), r"an average over \(3, 3\) with padding"),
        (lambda x: nn.functional.pad(x, (1, 1, 1, 1), "reflect"), "reflect .*is not mapped"),
        (lambda x: x[:, :, ::2, :], "slices with steps"),
        (lambda x: nn.functional.interpolate(x, scale_factor=1.5), r"nearest x 1\.5 is not mapped"),
        (lambda x: x.chunk(2, dim=1)[0], "3 channels are not 2 equal parts"),
    ],
)
def test_an_operation_that_is_not_mapped_is_one_line(
    odd: Checkpoint, monkeypatch: pytest.MonkeyPatch, operation: Any, message: str
) -> None:
    monkeypatch.setattr(OddNet, "compute", lambda net, x: operation(x), raising=False)
    with pytest.raises(ExportError, match=f"^net: odd: .*{message}") as caught:
        to_tflite(odd, "fp32")
    assert "\n" not in str(caught.value)


def test_onnx_needs_no_tools_of_tflite(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "export"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    importlib.import_module("export.build")


def test_tensorflow_is_not_needed(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert to_tflite(checkpoint, "fp32")
