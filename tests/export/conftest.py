"""A small network with weights that do something, exported once for all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.quantize.calibrate import choose_scales, observe
from compress.quantize.quantize import with_scales
from core.checkpoint import Checkpoint
from core.networks.student import StudentConfig, StudentNet
from export.build import build_onnx


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    config = StudentConfig(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = StudentNet(config)
        nn.init.normal_(net.exit.weight, std=0.05)
    return Checkpoint(
        name="tiny",
        role="student",
        architecture="student",
        config=config,
        weights=net.state_dict(),
        recipe=("train: two steps",),
        data=("rain800",),
        versions={"lightning": "2.6"},
    )


def int8_of(checkpoint: Checkpoint, symmetric: bool = False) -> Checkpoint:
    """Quantize a checkpoint to int8, calibrated on smooth pictures."""
    coarse = torch.rand(32, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    observed = observe(checkpoint.build(), (smooth * 255).to(torch.uint8), progress=False)
    return with_scales(checkpoint, choose_scales(observed, "minmax", symmetric))


@pytest.fixture(scope="session")
def _exported(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_onnx(checkpoint, tmp_path_factory.mktemp("exported")).artifact.parent


@pytest.fixture
def artifact(_exported: Path, tmp_path: Path) -> Path:
    """A verified artifact with its card, free to be damaged."""
    return Path(shutil.copytree(_exported, tmp_path / "artifact")) / "tiny_fp32.onnx"
