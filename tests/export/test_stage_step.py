"""One stage, repeated on the device, is the unrolled network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from core.checkpoint import Checkpoint
from core.networks.gan_lstm import GanLstmConfig
from edge_runtime.card import StageStep
from edge_runtime.derainer import Derainer
from edge_runtime.errors import UsageError
from export.build import Built, build_onnx
from export.errors import ExportError
from export.to_onnx import step_to_onnx
from tests.export.conftest import int8_of
from tests.export.test_architectures import make_teacher

CONFIG = GanLstmConfig(
    width=4, stages=3, blocks=3, attention="spatial", body_scale=2, body_depth=1, radius=2, eps=1e-3
)


@pytest.fixture(scope="module")
def recurrent() -> Checkpoint:
    return make_teacher("gan_lstm", CONFIG)


@pytest.fixture(scope="module")
def built(recurrent: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_onnx(recurrent, tmp_path_factory.mktemp("step"), step=True)


def rainy_batch() -> torch.Tensor:
    return torch.rand(1, 3, 20, 12, generator=torch.Generator().manual_seed(3))


def test_the_artifact_is_verified_against_the_unrolled_network(built: Built) -> None:
    assert built.artifact.name == "teacher_step_fp32.onnx"
    assert all(check.passed for check in built.checks)
    assert built.card.name == "teacher_step"
    assert built.card.step == StageStep(stages=3, state_width=4, state_scale=2)
    assert built.card.golden is not None
    assert built.card.recipe[-1] == "export: onnx fp32, one stage"


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_any_number_of_stages_is_that_result_of_the_network(
    recurrent: Checkpoint, built: Built, stages: int
) -> None:
    with torch.no_grad():
        wanted = recurrent.build().stages(rainy_batch())[stages - 1].clamp(0, 1)
    session = Derainer.load(built.artifact, stages=stages).session
    assert np.abs(session.run(rainy_batch().numpy()) - wanted.numpy()).max() < 1e-6


def test_fp16_is_within_its_limits(recurrent: Checkpoint, tmp_path: Path) -> None:
    built = build_onnx(recurrent, tmp_path, step=True, precision="fp16")
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


def test_tiles_equal_the_whole(built: Built) -> None:
    rainy = np.random.default_rng(0).integers(0, 256, (150, 70, 3), dtype=np.uint8)
    whole = Derainer.load(built.artifact, tile=0)(rainy)
    tiled = Derainer.load(built.artifact, tile=32)(rainy)
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-4


@pytest.mark.parametrize("stages", [0, 4])
def test_stages_without_training_are_refused(built: Built, stages: int) -> None:
    with pytest.raises(UsageError, match=rf"^stages {stages}: .* was trained with 3; take 1 to 3"):
        Derainer.load(built.artifact, stages=stages)


def test_other_networks_have_no_step(
    checkpoint: Checkpoint, recurrent: Checkpoint, tmp_path: Path
) -> None:
    lone = dataclasses.replace(CONFIG, recurrent=False)
    for other in (checkpoint, make_teacher("gan_lstm", lone)):
        with pytest.raises(ExportError, match="hands no state from stage to stage"):
            build_onnx(other, tmp_path, step=True)
    with pytest.raises(ExportError, match="scales differ from stage to stage"):
        build_onnx(int8_of(recurrent), tmp_path, step=True)
    assert not list(tmp_path.iterdir())
