"""Small networks with weights that do something; one of them exported once for all tests."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.quantization.calibrate import choose_scales, observe
from compress.quantization.quantize import with_scales
from core.checkpoint import Checkpoint
from core.networks import ARCHITECTURES
from core.networks.deconv import DeconvConfig
from core.networks.gan_lstm import GanLstmConfig
from core.networks.jorder import JorderConfig
from core.networks.rescan import RescanConfig
from core.networks.student import StudentConfig, StudentNet
from export.build import build_onnx

TEACHERS: dict[str, tuple[str, Any]] = {
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
    "rescan, additive": (
        "rescan",
        RescanConfig(width=4, depth=4, stages=2, unit="conv_rnn", prediction="additive"),
    ),
    "rescan, lstm": ("rescan", RescanConfig(4, 4, 3, unit="lstm", prediction="additive")),
}


def make_teacher(architecture: str, config: Any) -> Checkpoint:
    """Return a network of random weights, whose last layer is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ARCHITECTURES[architecture].module(config)
        for parameter in net.parameters():
            if not parameter.any():  # a last layer that starts at zero
                nn.init.normal_(parameter, std=0.05)
    return Checkpoint("teacher", "teacher", architecture, config, net.state_dict())


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return make_student(StudentConfig((8, 16), (1, 1), (1,)))


def make_student(config: StudentConfig) -> Checkpoint:
    """Return a student of random weights, whose last layer is not zero."""
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
    coarse = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
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
