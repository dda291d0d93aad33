"""Students made for integers: pictures of 8 bits in and out, and nothing between in float."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter

from compress.quantization.sensitivity import keep_in_float
from core.checkpoint import Checkpoint
from core.inference import derainer_of
from core.networks.student import StudentConfig
from edge_runtime.derainer import Derainer
from edge_runtime.metrics import psnr
from export.build import Built, export
from export.errors import ExportError
from export.graph import Io, Precision
from export.to_onnx import to_onnx
from export.to_tflite import to_tflite
from tests.export.conftest import int8_of, make_student

CONFIGS = {
    "blocks of pixels": StudentConfig(
        (8, 16), (1, 1), (1,), stride=4, kernel=12, up="shuffle", exit_kernel=3, closed=True
    ),
    "no overlap": StudentConfig((8, 16), (0, 1), (0,), stride=4, kernel=4, up="shuffle"),
    "half a stride": StudentConfig((8,), (1,), (), stride=4, kernel=8, up="shuffle", closed=True),
    "half size": StudentConfig((8, 16), (0, 1), (1,), up="shuffle", closed=True),
}
FORMATS: dict[str, Io] = {"onnx": "uint8", "tflite": "int8"}


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def student(request: pytest.FixtureRequest) -> Checkpoint:
    return make_student(request.param)


@pytest.fixture(scope="module")
def quarter() -> Checkpoint:
    return make_student(CONFIGS["blocks of pixels"])


@pytest.fixture(scope="module")
def int8(quarter: Checkpoint) -> Checkpoint:
    return int8_of(quarter)


def _picture(height: int, width: int) -> np.ndarray:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(2))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)
    return (smooth * 255).to(torch.uint8).numpy()


def _export(checkpoint: Checkpoint, folder: Path, format: Any, **options: Any) -> Built:
    return export(checkpoint, folder, format, **options)


@pytest.mark.parametrize("format", FORMATS)
def test_both_engines_deal_channels_out_as_torch_does(student: Checkpoint, format: str) -> None:
    """Whatever the kernel, in integers with pictures of 8 bits and of floats."""
    student = int8_of(student)
    picture = _picture(40, 56)
    wanted = derainer_of(student)(picture)
    assert psnr(picture, wanted) < 50  # it does something
    for io in ("float32", FORMATS[format]):
        found = _run(student, format, io, picture)
        assert np.abs(found.astype(int) - wanted).max() <= 1, io
        assert (found != wanted).mean() < 0.05, io


def _run(checkpoint: Checkpoint, format: str, io: Io, picture: np.ndarray) -> np.ndarray:
    batch = picture[None]
    if io == "float32":
        batch = batch.astype(np.float32) / np.float32(255)
    if format == "onnx":
        content = to_onnx(checkpoint, io).SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        if io == "float32":
            batch = batch.transpose(0, 3, 1, 2)
        (result,) = session.run(None, {"rainy": batch})
        result = result[0].transpose(1, 2, 0) if io == "float32" else result[0]
    else:
        engine = Interpreter(model_content=to_tflite(checkpoint, "int8", io))
        (given,), (made,) = engine.get_input_details(), engine.get_output_details()
        engine.resize_tensor_input(given["index"], batch.shape)
        engine.allocate_tensors()
        signed = (batch.astype(int) - 128).astype(np.int8)
        engine.set_tensor(given["index"], batch if io == "float32" else signed)
        engine.invoke()
        result = engine.get_tensor(made["index"])[0]
        result = result if io == "float32" else (result.astype(int) + 128).astype(np.uint8)
    if io == "float32":
        result = np.floor(result * 255 + 0.5).astype(np.uint8)
    return np.asarray(result)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("layers", [("exit",), ("up.0",), ("entry", "encoder.0.0.second")])
def test_layers_that_stay_in_float(int8: Checkpoint, format: str, layers: tuple[str, ...]) -> None:
    mixed, picture = keep_in_float(int8, layers), _picture(40, 56)
    found = _run(mixed, format, FORMATS[format], picture)
    assert np.abs(found.astype(int) - derainer_of(mixed)(picture)).max() <= 1


PRECISIONS: list[tuple[str, Precision]] = [
    *((format, precision) for format in FORMATS for precision in ("fp32", "fp16")),
    ("tflite", "dynamic"),
]


@pytest.mark.parametrize(("format", "precision"), PRECISIONS)
def test_every_precision_is_verified(
    quarter: Checkpoint, format: str, precision: Precision, tmp_path: Path
) -> None:
    built = _export(quarter, tmp_path, format, precision=precision)
    assert all(check.passed for check in built.checks)
    with pytest.raises(ExportError, match=f"needs precision int8, not {precision}"):
        _export(quarter, tmp_path, format, precision=precision, io=FORMATS[format], force=True)


@pytest.mark.parametrize("format", FORMATS)
def test_tiles_and_odd_sizes_of_8_bit_pictures(
    int8: Checkpoint, format: str, tmp_path: Path
) -> None:
    """Tiles equal the whole with the halo of a receptive field that begins at a quarter size."""
    io = FORMATS[format]
    built = _export(int8, tmp_path, format, io=io)
    assert (built.card.io, built.card.layout, built.card.halo) == (io, "NHWC", 48)
    whole, tiled = (
        Derainer.load(built.artifact, tile=tile, scale=1, threshold=None) for tile in (0, 40)
    )
    for size in ((131, 203), (1, 1), (16, 24)):
        picture = _picture(*size)
        derained = whole(picture)
        np.testing.assert_array_equal(tiled(picture), derained)
        # Finer pictures keep what is below a level; grey and mirrored ones go through floats.
        finer = picture.astype(np.uint16) * 257
        assert np.abs(whole(finer) / 257 - derained).max() <= 0.5
        assert whole(picture[..., 0]).shape == size
    ensemble = Derainer.load(built.artifact, ensemble=True, scale=1, threshold=None)(picture)
    mirrored = whole(np.ascontiguousarray(picture[:, ::-1]))[:, ::-1]
    assert np.abs(ensemble - (derained / 2 + mirrored / 2)).max() <= 0.5
    with pytest.raises(ExportError, match=f"pictures of 8 bits are {io} in this format"):
        _export(int8, tmp_path, format, io="int8" if io == "uint8" else "uint8", force=True)


@pytest.mark.parametrize("io", ["float32", "uint8"])
def test_onnx_runtime_runs_nothing_but_the_last_sum_in_float(
    int8: Checkpoint, io: Io, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(
        to_onnx(int8, io).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    picture = _picture(64, 96)[None]
    floats = picture.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    session.run(None, {"rainy": picture if io == "uint8" else floats})
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [e["args"] for e in events if e["name"].endswith("_kernel_time")]
    assert sum(each["op_name"] == "QLinearConv" for each in ran) == 10
    in_float = [
        each["op_name"]
        for each in ran
        if any("float" in kind for made in each["output_type_shape"] for kind in made)
    ]
    assert in_float == ([] if io == "uint8" else ["DequantizeLinear", "Add", "Clip"])


def test_xnnpack_takes_the_whole_graph(int8: Checkpoint) -> None:
    engine = Interpreter(model_content=to_tflite(int8, "int8", "int8"))
    engine.resize_tensor_input(engine.get_input_details()[0]["index"], (1, 64, 96, 3))
    engine.allocate_tensors()
    taken = [op for op in engine._get_ops_details() if op["op_name"] == "DELEGATE"]
    assert len(taken) == 1
    assert engine.get_input_details()[0]["index"] in taken[0]["inputs"]
    assert taken[0]["outputs"].tolist() == [engine.get_output_details()[0]["index"]]
