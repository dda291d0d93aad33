"""int8 artifacts: what they store, that they compute what torch does, and who can run them."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from core.checkpoint import Checkpoint
from core.quantization import TensorScale
from edge_runtime.engines.onnx_runtime import OnnxSession
from edge_runtime.models.card import QualityRow, load_card
from export.build import build_onnx
from export.errors import ExportError, ParityError
from export.graph import ExportGraph
from export.to_onnx import to_onnx
from export.verify import Check, compare, require_parity, require_quality, verify
from tests.export.conftest import int8_of


@pytest.fixture(scope="module")
def int8(checkpoint: Checkpoint) -> Checkpoint:
    return int8_of(checkpoint)


@pytest.fixture(scope="module")
def model(int8: Checkpoint) -> onnx.ModelProto:
    return to_onnx(int8)


def _session(model: onnx.ModelProto, optimized: str = "") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = optimized
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _picture(height: int = 40, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / 20
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)])
    return (waves[None] * 0.4 + 0.5).astype(np.float32)


def test_each_operation_computes_what_torch_does(int8: Checkpoint, model: onnx.ModelProto) -> None:
    rainy = _picture()
    (found,) = _session(model).run(None, {"rainy": rainy})
    with torch.no_grad():
        wanted = ExportGraph(int8.build())(torch.from_numpy(rainy)).numpy()
        unrounded = ExportGraph(int8.unquantized().build())(torch.from_numpy(rainy)).numpy()
    # Exact but for a value here and there that lies between two codes.
    assert (np.abs(found - wanted) > 1e-6).mean() < 0.02
    assert (np.abs(unrounded - wanted) > 1e-6).mean() > 0.5


def test_every_convolution_becomes_an_integer_one(model: onnx.ModelProto, tmp_path: Path) -> None:
    optimized = tmp_path / "optimized.onnx"
    _session(model, str(optimized))
    operations = [node.op_type for node in onnx.load(optimized).graph.node]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert operations.count("QLinearConv") == len(convolutions)


def test_the_runtime_computes_what_torch_does(
    int8: Checkpoint, model: onnx.ModelProto, tmp_path: Path
) -> None:
    """By integer kernels or, where the processor has no dot products, in float; see OnnxSession."""
    rainy = _picture()
    onnx.save(model, tmp_path / "int8.onnx")
    found = OnnxSession(tmp_path / "int8.onnx", 1).run(rainy)
    with torch.no_grad():
        wanted = ExportGraph(int8.build())(torch.from_numpy(rainy)).numpy()
    assert (np.abs(found - wanted) > 1e-6).mean() < 0.02


def _types(model: onnx.ModelProto, operation: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (data input, scale, zero point) of every node of a kind."""
    tensors = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return [
        (node.input[0], tensors[node.input[1]], tensors[node.input[2]])
        for node in model.graph.node
        if node.op_type == operation
    ]


def test_weights_are_int8_codes_with_one_scale_a_channel(
    int8: Checkpoint, model: onnx.ModelProto
) -> None:
    assert int8.quantization is not None
    tensors = {each.name: each for each in model.graph.initializer}
    scales = {data: (scale, point) for data, scale, point in _types(model, "DequantizeLinear")}
    for layer, wanted in int8.quantization.weights.items():
        codes = tensors[f"network.{layer}.weight_int8"]
        assert codes.data_type == TensorProto.INT8
        scale, point = scales[codes.name]
        np.testing.assert_allclose(scale, wanted, rtol=1e-6)
        assert not point.any()
        axis = 0 if int8.build().get_submodule(layer).__class__.__name__ == "Conv2d" else 1
        weight, shape = int8.weights[f"{layer}.weight"].numpy(), [1, 1, 1, 1]
        shape[axis] = -1
        rounded = numpy_helper.to_array(codes) * scale.reshape(shape)
        assert np.abs(rounded - weight).max() <= scale.max() / 2 * 1.001
        assert tensors[f"network.{layer}.bias"].data_type == TensorProto.FLOAT
    floats = [each for each in tensors.values() if each.data_type == TensorProto.FLOAT]
    assert max(numpy_helper.to_array(each).ndim for each in floats) <= 1  # no weight twice


def test_activations_are_uint8_for_integer_kernels_on_x86(model: onnx.ModelProto) -> None:
    points = [point for _, _, point in _types(model, "QuantizeLinear")]
    assert {point.dtype for point in points} == {np.dtype(np.uint8)}
    assert all(point.ndim == 0 for point in points)


def test_zero_points_of_zero_are_what_tensorrt_takes(checkpoint: Checkpoint) -> None:
    symmetric = to_onnx(int8_of(checkpoint, symmetric=True))
    for operation in ("QuantizeLinear", "DequantizeLinear"):
        for _, _, point in _types(symmetric, operation):
            assert point.dtype == np.int8
            assert not point.any()


def test_equal_checkpoints_give_equal_bytes(int8: Checkpoint, model: onnx.ModelProto) -> None:
    again = to_onnx(int8).SerializeToString(deterministic=True)
    assert again == model.SerializeToString(deterministic=True)


def test_an_int8_artifact_is_built_and_verified(int8: Checkpoint, tmp_path: Path) -> None:
    built = build_onnx(int8, tmp_path)
    assert built.artifact.name == "tiny_int8.onnx"
    card = load_card(built.artifact)
    assert (card.precision, card.recipe[-1]) == ("int8", "export: onnx int8")
    assert card.parameters == sum(each.numel() for each in int8.weights.values())
    checks = [check for check in built.checks if not check.picture.startswith("golden")]
    assert {check.psnr_limit for check in checks} == {45.0, 30.0}
    assert all(check.passed for check in verify(built.artifact, int8))
    with pytest.raises(ExportError, match="tiny: is fp32 and has no int8 scales"):
        compare(built.artifact, int8.unquantized())


def test_another_quantization_of_the_network_fails(int8: Checkpoint, tmp_path: Path) -> None:
    artifact = build_onnx(int8, tmp_path).artifact
    record = int8.quantization
    assert record is not None
    coarse = {
        name: TensorScale(stored.scale * 64, stored.zero_point)
        for name, stored in record.activations.items()
    }
    other = dataclasses.replace(int8, quantization=dataclasses.replace(record, activations=coarse))
    with pytest.raises(ParityError, match=r"the limit is 45 dB and it has \d+\.\d dB"):
        verify(artifact, other)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_precisions_of_an_int8_checkpoint(
    int8: Checkpoint, tmp_path: Path, precision: str
) -> None:
    built = build_onnx(int8, tmp_path, precision=precision)  # type: ignore[arg-type]
    assert built.artifact.name == f"tiny_{precision}.onnx"
    assert built.card.precision == precision
    checks = [check for check in built.checks if not check.picture.startswith("golden")]
    assert all(check.limit == {"fp32": 1e-5, "fp16": 2e-3}[precision] for check in checks)
    model = onnx.load(built.artifact)
    kinds = {each.data_type for each in model.graph.initializer if len(each.dims) == 4}
    assert kinds == {TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


def test_the_quality_limit() -> None:
    row = QualityRow(
        dataset="a", images=1, protocol="y", input_psnr=20, input_ssim=0.5, psnr=26.0, ssim=0.8
    )
    for torch_psnr in (20.0, 26.049):
        require_quality(Path("a"), [row], [dataclasses.replace(row, psnr=torch_psnr)])
    with pytest.raises(ParityError):
        require_quality(Path("a"), [row], [dataclasses.replace(row, psnr=26.06)])
    near = dataclasses.replace(row, psnr=51.0)
    require_quality(Path("a"), [near], [dataclasses.replace(row, psnr=np.inf)])


def test_fidelity_counts_as_well_as_the_difference() -> None:
    check = Check("streaks", 8, 8, 0.1, 44.9, limit=np.inf, psnr_limit=45.0)
    assert not check.passed
    with pytest.raises(ParityError, match=r"44\.9 dB"):
        require_parity(Path("a"), [check])
    assert dataclasses.replace(check, psnr=45.0).passed
