"""What must export in float everywhere becomes a verified artifact of both formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from core.networks.deconv import DeconvConfig
from core.networks.gan_lstm import GanLstmConfig
from core.networks.student import StudentConfig
from edge_runtime.models.card import METADATA_KEY, card_path
from export.build import Built, build_onnx, build_tflite
from export.graph import Precision
from export.tflite.writer import schema
from tests.export.test_architectures import make_teacher

NETWORKS: dict[str, tuple[str, Any]] = {
    "gan_lstm": ("gan_lstm", GanLstmConfig(width=4, stages=2, blocks=1)),
    "deconv": ("deconv", DeconvConfig(widths=(4, 6, 8))),
    "pruned": ("student", StudentConfig((8, 16), (1, 1), (1,), ((8,), (24,)), ((16,),))),
}
BUILDERS: dict[str, Callable[..., Built]] = {"onnx": build_onnx, "tflite": build_tflite}


@pytest.mark.parametrize("format", BUILDERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("case", NETWORKS)
def test_it_becomes_a_verified_artifact(
    case: str, precision: Precision, format: str, tmp_path: Path
) -> None:
    built = BUILDERS[format](make_teacher(*NETWORKS[case]), tmp_path, precision=precision)
    assert built.artifact.name == f"teacher_{precision}.{format}"
    assert built.checks
    assert all(check.passed for check in built.checks)
    _check_metadata(built)


def _check_metadata(built: Built) -> None:
    """Read the card inside with the tools of the format and a reader of JSON alone."""
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
