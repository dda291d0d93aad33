"""Quantization: what a checkpoint records of it, and the arithmetic that it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from core.errors import ConfigError

Scheme = Literal["int8", "fp16"]
LEAST, MOST = -128, 127
"""Codes of int8."""


@dataclass(frozen=True)
class TensorScale:
    """The storage of an activation: ``x = scale (code - zero_point)``, codes -128 to 127.

    Attributes:
        scale: above 0, in units of the tensor.
        zero_point: the code of 0, so that zero padding is exact.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not self.scale > 0 or not LEAST <= self.zero_point <= MOST:
            raise ConfigError(
                f"scale {self.scale} must be above 0 and zero_point {self.zero_point} within "
                f"[{LEAST}, {MOST}]; quantize the checkpoint again"
            )

    @classmethod
    def of_range(cls, low: float, high: float, symmetric: bool = False) -> TensorScale:
        """Cover ``[low, high]``, widened to hold 0 (Jacob et al. 2018, arXiv:1712.05877, eq. 1).

        Args:
            low: smallest value; values below it will saturate.
            high: largest value.
            symmetric: take zero point 0, at the cost of the codes that one sign leaves unused.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if symmetric:
            return cls(max(-low, high) / MOST or 1.0, 0)
        scale = (high - low) / (MOST - LEAST) or 1.0
        return cls(scale, max(LEAST, min(MOST, round(LEAST - low / scale))))

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value that the codes stand for."""
        return (LEAST - self.zero_point) * self.scale, (MOST - self.zero_point) * self.scale


@dataclass(frozen=True)
class Quantization:
    """The arithmetic that a network runs in.

    ``int8``: weights have one symmetric scale for each output channel and activations one scale
    and zero point a tensor, chosen so that ONNX and TFLite can both hold them: codes of weights
    stay within -127 to 127, zero points of weights are 0, an activation after a ReLU is stored
    once, and both operands and the result of an addition are stored. Biases are whole multiples of
    input scale times weight scale, as the int32 that integer kernels add. What is added to the
    rainy picture is stored, the sum is float.

    ``fp16``: weights and arithmetic in half precision, pictures in float32; nothing else to record.

    Attributes:
        scheme: ``int8`` or ``fp16``.
        activations: scale by tensor; a tensor is named after the layer that makes it, ``@2`` and
            so on where the layer runs again, or after the input or operation that does.
        weights: scales by layer, one for each output channel.
        float_layers: layers that stay in float32.
    """

    scheme: Scheme
    activations: dict[str, TensorScale] = field(default_factory=dict)
    weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()


def fake_quantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Round an activation to what int8 can hold.

    ``scale (clamp(round(x / scale) + zero_point, -128, 127) - zero_point)``, halves to even, as
    ONNX QuantizeLinear and DequantizeLinear do. The gradient passes straight through where x is
    inside the range and is 0 outside (Bengio et al. 2013, arXiv:1308.3432).

    Args:
        x: float, any shape.
        scale: as that of :class:`TensorScale`, likewise ``zero_point``.

    Returns:
        float32, shaped like ``x``.
    """
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero_point, LEAST, MOST)


def fake_quantize_weight(weight: Tensor, scales: Tensor, axis: int) -> Tensor:
    """Round a weight to int8 with one symmetric scale for each index of ``axis``.

    Args:
        weight: float, any shape.
        scales: float32 (C,), C being the size of ``axis``.
        axis: of the output channels.

    Returns:
        float32, shaped like ``weight``; the gradient is that of :func:`fake_quantize`.
    """
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros, axis, LEAST, MOST)


def weight_scales(weight: Tensor, axis: int) -> tuple[float, ...]:
    """Return scales under which the largest weight of each channel becomes code 127.

    A channel of zeros takes scale 1. Arguments as :func:`fake_quantize_weight`.
    """
    largest = weight.detach().abs().transpose(0, axis).flatten(1).amax(1).float()
    return tuple(value / MOST or 1.0 for value in largest.tolist())
