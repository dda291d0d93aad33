"""Networks with axes to prune, in float64 and doing something everywhere."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.networks import ARCHITECTURES
from core.networks.deconv import DeconvConfig
from core.networks.gan_lstm import GanLstmConfig
from core.networks.jorder import JorderConfig
from core.networks.rescan import RescanConfig
from core.networks.student import StudentConfig

GAN = GanLstmConfig(width=6, stages=3, blocks=2, radius=2, eps=0.01)
NETWORKS: dict[str, tuple[str, Any, int]] = {
    "student": ("student", StudentConfig((16, 24, 16), (1, 1, 2), (2, 0)), 9),
    "student of one level": ("student", StudentConfig((16,), (1,), ()), 2),
    "pruned student": ("student", StudentConfig((16, 16), (1, 1), (0,), ((8,), (24,))), 4),
    "shuffled student": ("student", StudentConfig((16, 24), (1, 1), (1,), up="shuffle"), 5),
    "deconv": ("deconv", DeconvConfig((4, 6, 8, 10)), 7),
    "residual deconv": ("deconv", DeconvConfig((4, 6), residual_output=True), 3),
    "paper": ("gan_lstm", GAN, 4),
    "prenet": ("gan_lstm", replace(GAN, attention="none", base_layer=False), 4),
    "prn_r": ("gan_lstm", replace(GAN, attention="none", recurrent=False, share_blocks=True), 2),
    "shared, recurrent": ("gan_lstm", replace(GAN, attention="spatial", share_blocks=True), 3),
    "one stage": ("gan_lstm", replace(GAN, stages=1, residual_output=True), 4),
    "quarter size": ("gan_lstm", replace(GAN, attention="spatial", body_scale=4), 4),
    "down and up": (
        "gan_lstm",
        replace(GAN, blocks=6, body_depth=2, body_scale=2, attention="spatial"),
        10,
    ),
    "down and up, global": (
        "gan_lstm",
        replace(GAN, blocks=3, body_depth=1, recurrent=False, residual_output=True),
        5,
    ),
    "jorder": ("jorder", JorderConfig(6, 3, 2), 7),
    "pruned jorder": (
        "jorder",
        JorderConfig(6, 2, 3, (1, 4), path_widths=(4, 5), head_widths=(7, 6, 4)),
        6,
    ),
    "rescan": ("rescan", RescanConfig(6, 5, 2), 4),
    "rescan, lstm, additive": ("rescan", RescanConfig(6, 4, 3, "lstm", "additive"), 3),
    "pruned rescan": (
        "rescan",
        RescanConfig(6, 4, 2, "conv_rnn", layer_widths=(6, 4, 5), squeeze_widths=(4, 2, 3)),
        3,
    ),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[str, Any, int]:
    """An architecture, a network of it, and how many axes that has."""
    architecture, config, axes = request.param
    return architecture, build(architecture, config), axes


def build(architecture: str, config: Any) -> nn.Module:
    """A float64 net that does something everywhere: no zero layers, few dead units.

    Its values stay near 1, so that in whatever order a processor adds, the rounding is far below
    the bounds.
    """
    torch.manual_seed(0)
    net = ARCHITECTURES[architecture].module(config).double()
    for parameter in net.parameters():
        inputs = parameter[0].numel() if parameter.ndim > 1 else 25
        nn.init.normal_(parameter, 0.1 / inputs, inputs**-0.5)
    return net


def picture(net: Any, rows: int = 3, columns: int = 5) -> Tensor:
    multiple = net.config.size_multiple
    return torch.rand(1, 3, rows * multiple, columns * multiple, dtype=torch.float64)
