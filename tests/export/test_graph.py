"""One stage, repeated on the device, is the unrolled network."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from core.checkpoint import Checkpoint
from core.networks.gan_lstm import GanLstmConfig
from edge_runtime.derainer import Derainer
from edge_runtime.engines.stages import counted_stages
from edge_runtime.errors import UsageError
from edge_runtime.models.card import StageStep
from export.build import Built, build_onnx, build_tflite
from export.errors import ExportError
from export.tflite.writer import schema
from export.to_onnx import step_to_onnx
from export.to_tflite import step_to_tflite
from tests.export.conftest import int8_of, make_teacher

CONFIG = GanLstmConfig(
    width=4, stages=3, blocks=3, attention="spatial", body_scale=2, body_depth=1, radius=2, eps=1e-3
)


@pytest.fixture(scope="module")
def recurrent() -> Checkpoint:
    return make_teacher("gan_lstm", CONFIG)


BUILDERS: dict[str, Callable[..., Built]] = {"onnx": build_onnx, "tflite": build_tflite}


@pytest.fixture(scope="module", params=BUILDERS)
def built(
    request: pytest.FixtureRequest, recurrent: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    return BUILDERS[request.param](recurrent, tmp_path_factory.mktemp("step"), step=True)


def rainy_batch() -> torch.Tensor:
    return torch.rand(1, 3, 20, 12, generator=torch.Generator().manual_seed(3))


def test_the_artifact_is_verified_against_the_unrolled_network(built: Built) -> None:
    assert built.artifact.name == f"teacher_step_fp32.{built.card.format}"
    assert all(check.passed for check in built.checks)
    assert built.card.name == "teacher_step"
    assert built.card.step == StageStep(stages=3, state_width=4, state_scale=2)
    assert built.card.golden is not None
    assert built.card.recipe[-1] == f"export: {built.card.format} fp32, one stage"


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_any_number_of_stages_is_that_result_of_the_network(
    recurrent: Checkpoint, built: Built, stages: int
) -> None:
    with torch.no_grad():
        wanted = recurrent.build().stages(rainy_batch())[stages - 1].clamp(0, 1)
    session = Derainer.load(built.artifact, stages=stages).session
    assert np.abs(session.run(rainy_batch().numpy()) - wanted.numpy()).max() < 1e-6


@pytest.mark.parametrize("format", BUILDERS)
def test_fp16_is_within_its_limits(recurrent: Checkpoint, tmp_path: Path, format: str) -> None:
    built = BUILDERS[format](recurrent, tmp_path, step=True, precision="fp16")
    assert built.card.precision == "fp16"
    assert all(check.passed for check in built.checks)


def test_names_and_sizes(recurrent: Checkpoint) -> None:
    graph = step_to_onnx(recurrent).graph
    assert [tensor.name for tensor in graph.input] == ["rainy", "x", "h", "c"]
    assert [tensor.name for tensor in graph.output] == ["x_next", "h_next", "c_next"]
    for tensor in (*graph.input, *graph.output):
        assert tensor.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        sizes = [size.dim_param or size.dim_value for size in tensor.type.tensor_type.shape.dim]
        state = ["batch", 4, "state_height", "state_width"]
        assert sizes == (state if tensor.name[0] in "hc" else ["batch", 3, "height", "width"])


def test_names_and_sizes_of_tflite(recurrent: Checkpoint) -> None:
    model = schema.ModelT.InitFromPackedBuf(step_to_tflite(recurrent, "fp32"))
    graph = model.subgraphs[0]
    tensors = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    names = [tensor.name.decode() for tensor in tensors]
    assert names == ["rainy", "x", "h", "c", "x_next", "h_next", "c_next"]
    for tensor in tensors:
        assert tensor.type == schema.TensorType.FLOAT32
        channels = 4 if tensor.name[:1] in b"hc" else 3
        assert list(tensor.shapeSignature) == [-1, -1, -1, channels]


def test_auto_counts_alike_in_both_engines(recurrent: Checkpoint, tmp_path: Path) -> None:
    rainy = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    found = []
    for build in BUILDERS.values():
        derainer = Derainer.load(build(recurrent, tmp_path, step=True).artifact, stages="auto")
        with counted_stages() as counts:
            found.append((derainer(rainy).astype(int), counts))
    (one, counts), (two, others) = found
    assert counts == others
    assert np.abs(one - two).max() <= 1


def test_tiles_equal_the_whole(built: Built) -> None:
    rainy = np.random.default_rng(0).integers(0, 256, (150, 70, 3), dtype=np.uint8)
    whole = Derainer.load(built.artifact, tile=0, threshold=None)(rainy)
    tiled = Derainer.load(built.artifact, tile=32, threshold=None)(rainy)
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-4


@pytest.mark.parametrize("stages", [0, 4])
def test_stages_without_training_are_refused(built: Built, stages: int) -> None:
    with pytest.raises(UsageError, match=rf"^stages {stages}: .* was trained with 3; take 1 to 3"):
        Derainer.load(built.artifact, stages=stages)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_other_networks_have_no_step(
    build: Callable[..., Built], checkpoint: Checkpoint, recurrent: Checkpoint, tmp_path: Path
) -> None:
    lone = dataclasses.replace(CONFIG, recurrent=False)
    for other in (checkpoint, make_teacher("gan_lstm", lone)):
        with pytest.raises(ExportError, match="hands no state from stage to stage"):
            build(other, tmp_path, step=True)
    with pytest.raises(ExportError, match="scales differ from stage to stage"):
        build(int8_of(recurrent), tmp_path, step=True)
    with pytest.raises(ExportError, match="one stage hands on float32 states"):
        build_tflite(recurrent, tmp_path, step=True, io="int8")
    assert not list(tmp_path.iterdir())
