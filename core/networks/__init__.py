"""The architectures, by the name that configs and checkpoints use."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from core.networks.deconv import DeconvConfig, DeconvNet
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.jorder import Jorder, JorderConfig
from core.networks.rescan import Rescan, RescanConfig
from core.networks.student import StudentConfig, StudentNet


class Architecture(NamedTuple):
    """A config dataclass and the module that is built from an instance of it."""

    config: type[Any]
    module: type[nn.Module]


ARCHITECTURES: dict[str, Architecture] = {
    "deconv": Architecture(DeconvConfig, DeconvNet),
    "gan_lstm": Architecture(GanLstmConfig, GanLstm),
    "jorder": Architecture(JorderConfig, Jorder),
    "rescan": Architecture(RescanConfig, Rescan),
    "student": Architecture(StudentConfig, StudentNet),
}
