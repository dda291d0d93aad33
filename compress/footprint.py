"""Bytes of the artifact that a network becomes, before there is one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from torch import nn

Precision = Literal["fp32", "fp16", "int8"]
WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
_BIAS_AND_SCALE = 9
"""int8: each output channel has a bias of 4 bytes, a scale of 4 and a zero point of 1."""
_GRAPH, _LAYER = 2700, 575
"""Bytes of an ONNX file beside the weights, and for each layer: nodes, names, scales, and a card
with its golden pair, but without scores, which take some 170 bytes a row. Rather too large: exports
of students of 4 to 22 layers had 500 to 1800 bytes less."""


def artifact_bytes(net: nn.Module, precision: Precision, keep_float: Collection[str] = ()) -> int:
    """Return about how many bytes the ONNX file of ``net`` has.

    Weights, biases and scales are counted; the graph around them is estimated, rather too large.

    Args:
        net: not quantized; its layers may be on any device.
        precision: of the artifact.
        keep_float: names of layers whose weights stay in float in an int8 artifact.
    """
    named = {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    }
    weights = WEIGHT_BYTES[precision] * sum(parameter.numel() for parameter in net.parameters())
    extra = 0
    if precision == "int8":
        for name, layer in named.items():
            if name in keep_float:
                held = sum(parameter.numel() for parameter in layer.parameters())
                extra += (WEIGHT_BYTES["fp32"] - WEIGHT_BYTES["int8"]) * held
            elif layer.bias is not None:
                extra += (_BIAS_AND_SCALE - 1) * layer.out_channels
    return weights + extra + _GRAPH + _LAYER * len(named)


def parameters_within(net: nn.Module, precision: Precision, limit: int) -> int:
    """Return how many parameters ``net`` may keep for its artifact to stay within a limit.

    Whichever are taken away: one is at least as many bytes as a weight has. May be below 0.

    Args:
        net: as :func:`artifact_bytes`, and ``precision``.
        limit: bytes of the artifact.
    """
    over = artifact_bytes(net, precision) - limit
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return parameters - max(0, -(-over // WEIGHT_BYTES[precision]))
