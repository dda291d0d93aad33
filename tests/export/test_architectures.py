"""Every teacher can be held by ONNX, at any legal size and without warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from core.checkpoint import Checkpoint
from core.networks import ARCHITECTURES
from core.networks.deconv import DeconvConfig
from core.networks.gan_lstm import GanLstmConfig
from core.networks.jorder import JorderConfig
from core.networks.rescan import RescanConfig
from export.build import build_onnx
from export.graph import ExportGraph, Precision
from export.to_onnx import to_onnx
from tests.export.conftest import int8_of

CASES = {
    "deconv": ("deconv", DeconvConfig(widths=(4, 6, 8, 10))),
    "paper": ("gan_lstm", GanLstmConfig(width=4, stages=2, blocks=1)),
    "prenet": (
        "gan_lstm",
        GanLstmConfig(
            width=4, stages=2, blocks=2, attention="none", residual_output=True, base_layer=False
        ),
    ),
    "spatial at half size": (
        "gan_lstm",
        GanLstmConfig(
            width=4, stages=2, blocks=1, attention="spatial", body_scale=2, radius=2, eps=1e-3
        ),
    ),
    "jorder": ("jorder", JorderConfig(width=6, stages=2, refinements=2)),
    "rescan": ("rescan", RescanConfig(width=4, depth=5, stages=2)),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def teacher(request: pytest.FixtureRequest) -> Checkpoint:
    architecture, config = request.param
    return make_teacher(architecture, config)


def make_teacher(architecture: str, config: Any) -> Checkpoint:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ARCHITECTURES[architecture].module(config)
        for parameter in net.parameters():
            if not parameter.any():  # a last layer that starts at zero
                nn.init.normal_(parameter, std=0.05)
    return Checkpoint("teacher", "teacher", architecture, config, net.state_dict())


def test_one_model_equals_torch_at_any_legal_size(teacher: Checkpoint) -> None:
    session = onnxruntime.InferenceSession(
        to_onnx(teacher).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    graph, multiple = ExportGraph(teacher.build()), teacher.config.size_multiple
    for rows, columns in ((1, 1), (1, 3), (5, 3), (3, 13), (19, 11)):
        rainy = torch.rand(2, 3, rows * multiple, columns * multiple)
        with torch.no_grad():
            wanted = graph(rainy).numpy()
        (found,) = session.run(["derained"], {"rainy": rainy.numpy()})
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("case", [name for name in CASES if name != "paper"])
def test_it_becomes_a_verified_artifact(case: str, tmp_path: Path) -> None:
    built = build_onnx(make_teacher(*CASES[case]), tmp_path)
    assert all(check.passed for check in built.checks)
    assert built.card.role == "teacher"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_it_becomes_one_in_fewer_bits(case: str, precision: Precision, tmp_path: Path) -> None:
    teacher = make_teacher(*CASES[case])
    built = build_onnx(
        int8_of(teacher) if precision == "int8" else teacher, tmp_path, precision=precision
    )
    assert built.card.precision == precision
    assert all(check.passed for check in built.checks)
