"""Features inside two networks, brought to the same shape and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.config import nearest
from core.errors import ConfigError

_LEAST = 1e-6


class Taps:
    """Keeps the last output of some modules of a network until it is taken, by forward hooks.

    Args:
        network: in which they are.
        layers: their names, as in ``network.named_modules()``.
        what: whose network it is, for errors.

    Attributes:
        latest: float (N, C, h, w) of every layer that has run since, by name.

    Raises:
        ConfigError: a layer that is not there; names the nearest.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], what: str) -> None:
        self.layers = tuple(layers)
        self.latest: dict[str, Tensor] = {}
        known = dict(network.named_modules())
        for layer in self.layers:
            if not layer or layer not in known:
                hint = nearest(layer, filter(None, known))
                raise ConfigError(f"layer {layer!r} of the {what}: unknown; {hint}")
            known[layer].register_forward_hook(self._keep(layer, known[layer]))

    def _keep(self, layer: str, tapped: nn.Module) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if module is tapped:  # a copy of the network has the same hooks
                self.latest[layer] = output

        return keep

    def take(self) -> list[Tensor]:
        """Return the outputs in the order of the layers, and forget them.

        What is not there cannot be an old one: a layer that has not run since is a KeyError.
        """
        taken = [self.latest[layer] for layer in self.layers]
        self.latest.clear()
        return taken

    def channels(self, network: nn.Module, side: int) -> list[int]:
        """Run ``network`` on a black picture (1, 3, side, side); return the channels of each layer.

        Raises:
            ConfigError: a layer whose output is not (N, C, h, w).
        """
        like = next(network.parameters())
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side, dtype=like.dtype, device=like.device))
        for layer in self.layers:
            found = self.latest.get(layer)
            if not isinstance(found, Tensor) or found.dim() != 4:
                raise ConfigError(
                    f"layer {layer!r}: gives no features (N, C, h, w); name a convolution or block"
                )
        return [features.shape[1] for features in self.take()]


class FeatureMatch(nn.Module):
    """Learned 1x1 convolutions from a student's features to a teacher's, and the distance left.

    The hints of FitNets (Romero et al., ICLR 2015, eq. 3) with a 1x1 regressor. The mean squared
    difference is divided by the mean square of the teacher's features, picture by picture, so that
    the scale of a layer does not matter: 1 is what features of zeros reach. Where the two differ in
    size, the finer ones are averaged down.

    Args:
        student: channels of the student's layers.
        teacher: channels of the teacher's layers, as many of them.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        super().__init__()
        self.matches = nn.ModuleList(
            nn.Conv2d(mine, theirs, 1) for mine, theirs in zip(student, teacher, strict=True)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Return the distance of each picture, the mean over the layers.

        Args:
            student: float (N, C, h, w) of each layer.
            teacher: float (N, C', h', w') of each layer, without gradient.

        Returns:
            float32 (N,), at least 0.
        """
        distances = [
            _distance(match(mine).float(), theirs.float())
            for match, mine, theirs in zip(self.matches, student, teacher, strict=True)
        ]
        return torch.stack(distances).mean(0)


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    size = min(found.shape[2], wanted.shape[2]), min(found.shape[3], wanted.shape[3])
    found, wanted = (F.adaptive_avg_pool2d(each, size) for each in (found, wanted))
    error = (found - wanted).square().mean((1, 2, 3))
    return error / wanted.square().mean((1, 2, 3)).clamp_min(_LEAST)


def default_layers(architecture: str, config: Any) -> tuple[str, str]:
    """Name the layers to compare where none are given: the bottom, and the last before the exit.

    Args:
        architecture: key of :data:`core.networks.ARCHITECTURES`.
        config: instance of its config.

    Raises:
        ConfigError: an architecture for which there is no default.
    """
    defaults: Mapping[str, Any] = {
        "student": lambda: (
            f"encoder.{len(config.widths) - 1}",
            "decoder.0" if len(config.widths) > 1 else "encoder.0",
        ),
        "gan_lstm": lambda: _body(len(config.module_levels)),
        "jorder": lambda: ("context", "background.first"),
        "rescan": lambda: (f"layers.{len(config.dilations) // 2}.attention", "merge_attention"),
        "deconv": lambda: (
            f"down.{len(config.widths) - 1}",
            f"up.{max(0, len(config.widths) - 2)}",
        ),
    }
    if architecture not in defaults:
        raise ConfigError(f"architecture {architecture!r}: has no default layers; name them")
    first, last = defaults[architecture]()
    return first, last


def _body(blocks: int) -> tuple[str, str]:
    return f"body.{blocks // 2}", f"body.{blocks - 1}"
