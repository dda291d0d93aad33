"""Every network can be held by ONNX, at any legal size, and becomes a verified artifact."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from core.networks.student import StudentConfig
from edge_runtime.models.card import METADATA_KEY, card_path
from export.build import Built, build_onnx, build_tflite
from export.graph import ExportGraph, Precision
from export.tflite.writer import schema
from export.to_onnx import to_onnx
from tests.export.conftest import TEACHERS, int8_of, make_teacher

PRUNED = ("student", StudentConfig((8, 16), (1, 1), (1,), ((8,), (24,)), ((16,),)))
NETWORKS: dict[str, tuple[str, Any]] = {**TEACHERS, "pruned": PRUNED}


@pytest.mark.parametrize("case", TEACHERS)
def test_one_model_equals_torch_at_any_legal_size(case: str) -> None:
    teacher = make_teacher(*TEACHERS[case])
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


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("case", NETWORKS)
def test_it_becomes_a_verified_artifact(case: str, precision: Precision, tmp_path: Path) -> None:
    network = make_teacher(*NETWORKS[case])
    network = int8_of(network) if precision == "int8" else network
    _check(build_onnx(network, tmp_path, precision=precision), f"teacher_{precision}.onnx")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("case", ["paper", "deconv", "pruned"])
def test_it_becomes_one_of_tflite(case: str, precision: Precision, tmp_path: Path) -> None:
    built = build_tflite(make_teacher(*NETWORKS[case]), tmp_path, precision=precision)
    _check(built, f"teacher_{precision}.tflite")


def _check(built: Built, name: str) -> None:
    """Look at the checks, and read the card inside with the tools of the format alone."""
    assert built.artifact.name == name
    assert f"{built.card.role}_{built.card.precision}.{built.card.format}" == name
    assert built.checks
    assert all(check.passed for check in built.checks)
    if built.artifact.suffix == ".onnx":
        properties = onnx.load(built.artifact).metadata_props
        text = next(entry.value for entry in properties if entry.key == METADATA_KEY)
    else:
        model = schema.ModelT.InitFromPackedBuf(built.artifact.read_bytes())
        (entry,) = model.metadata
        assert entry.name.decode() == METADATA_KEY
        text = model.buffers[entry.buffer].data.tobytes().decode()
    inside, beside = (json.loads(each) for each in (text, card_path(built.artifact).read_text()))
    assert beside["golden"]["samples"]
    for measured in ("quality", "golden", "bytes", "sha256"):
        assert not inside.pop(measured)
        beside.pop(measured)
    assert inside == beside
