"""Estimated sizes against exported files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.footprint import Precision, artifact_bytes, parameters_within
from compress.quantize.calibrate import choose_scales, observe
from compress.quantize.quantize import to_fp16, with_scales
from compress.quantize.sensitivity import keep_in_float
from core.checkpoint import Checkpoint
from core.networks.student import StudentConfig, StudentNet
from export.build import build_onnx


@pytest.mark.parametrize(
    ("precision", "keep_float"),
    [("fp32", ()), ("fp16", ()), ("int8", ()), ("int8", ("encoder.1.0.first",))],
)
def test_the_estimate_is_a_little_above_the_file(
    tmp_path: Path, precision: Precision, keep_float: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    config = StudentConfig((16, 24), (1, 1), (1,))
    net = StudentNet(config).eval()
    nn.init.normal_(net.exit.weight, std=0.05)
    checkpoint = Checkpoint("tiny", "student", "student", config, net.state_dict())
    if precision == "fp16":
        checkpoint = to_fp16(checkpoint)
    if precision == "int8":
        crops = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
        scales = choose_scales(observe(net, crops, progress=False), "minmax", symmetric=False)
        checkpoint = keep_in_float(with_scales(checkpoint, scales), keep_float)
    built = build_onnx(checkpoint, tmp_path)
    size = built.artifact.stat().st_size
    assert size <= artifact_bytes(net, precision, keep_float) <= size + 2500


@pytest.mark.parametrize(("precision", "each"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_parameters_within(precision: Precision, each: int) -> None:
    net = StudentNet(StudentConfig((8,), (1,), ()))
    whole = artifact_bytes(net, precision)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert parameters_within(net, precision, whole) == count
    assert parameters_within(net, precision, whole + 100) == count
    assert parameters_within(net, precision, whole - 10 * each) == count - 10
    assert parameters_within(net, precision, whole - 10 * each + 1) == count - 10 + (each == 1)
