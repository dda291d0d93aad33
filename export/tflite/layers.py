"""Convolutions as TFLite has them: where the zeros go, and weights in its order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from core.networks.layers import ShuffledConv2d
from core.quantization import Layer
from export.errors import ExportError

_LANES = 4
"""Channels that integer kernels work on at once, at least."""


@dataclass(frozen=True)
class Convolution:
    """A plain convolution that computes a layer, between two foldings of pixels and channels.

    A convolution whose kernel is ``m`` strides wide, ``m`` above 1, is one with ``m`` taps and
    stride 1 of blocks of ``stride x stride`` pixels folded into channels. Integer kernels work on
    8 or 16 channels at once, so on three colours they waste most of their work; folded, the entry
    of a student takes less than half the time.

    A transposed convolution is likewise one to ``stride**2`` times as many channels, unfolded into
    blocks of pixels. In that form no operator has to be told the size of its output, which the
    graph does not know. A convolution with a pixel shuffle has that form already, but for the order
    of its channels: torch deals out the blocks of one channel after the other, TFLite the channels
    of one pixel of the block after the other.

    Attributes:
        weight: float32 (O, H, W, I), the order of TFLite.
        bias: float32 (O,); zeros where the layer has none.
        outputs: int (O,), the output channel of the layer that each of these computes.
        stride: of the convolution.
        padding: zeros on each side, after folding.
        fold: side of the blocks of pixels that are folded into channels before; 1 leaves them.
        unfold: side of the blocks of pixels that channels are unfolded into after; likewise.
        dilation: distance of the taps, with stride 1 and without folding.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    outputs: NDArray[np.int64]
    stride: int
    padding: int
    fold: int = 1
    unfold: int = 1
    dilation: int = 1


def as_convolution(name: str, layer: Layer) -> Convolution:
    """Turn a layer into a plain convolution.

    Args:
        name: of the layer, for errors.
        layer: weights are read, not changed.

    Raises:
        ExportError: groups, sides that differ, dilation with a stride or transposed, or a
            transposed convolution whose kernel or padding is no multiple of its stride.
    """
    side, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    dilation = layer.dilation[0]
    plain = (
        layer.groups == 1
        and set(layer.dilation) == {dilation}
        and (dilation == 1 or (stride == 1 and isinstance(layer, nn.Conv2d)))
        and (set(layer.kernel_size), set(layer.stride)) == ({side}, {stride})
        and isinstance(padding, int)
        and set(layer.padding) == {padding}
    )
    if not plain:
        raise ExportError(f"layer {name}: {layer} is not square or not dense; replace it")
    assert isinstance(padding, int)
    weight = layer.weight.detach().float().numpy()
    bias = np.zeros(layer.out_channels, np.float32)
    if layer.bias is not None:
        bias = layer.bias.detach().float().numpy()
    taps, rest = divmod(side, stride)
    shift, odd = divmod(padding, stride)
    if isinstance(layer, nn.Conv2d):
        shuffle = layer.scale if isinstance(layer, ShuffledConv2d) else 1
        outputs = np.arange(len(bias)).reshape(-1, shuffle**2).T.ravel()
        weight, bias = weight[outputs], bias[outputs]
        few = layer.in_channels < _LANES
        if rest or odd or stride == 1 or (taps == 1 and not few):
            ordered = weight.transpose(0, 2, 3, 1)
            return Convolution(
                ordered, bias, outputs, stride, padding, dilation=dilation, unfold=shuffle
            )
        blocks = weight.reshape(*weight.shape[:2], taps, stride, taps, stride)
        folded = blocks.transpose(0, 2, 4, 3, 5, 1).reshape(len(weight), taps, taps, -1)
        return Convolution(folded, bias, outputs, 1, shift, stride, shuffle)
    if rest or odd or any(layer.output_padding) or shift > taps - 1:
        raise ExportError(
            f"layer {name}: {layer} needs a kernel and a padding that are multiples of the stride"
        )
    inputs, count = weight.shape[:2]
    # Output pixel stride * q + r takes tap stride * j + r of input pixel q + shift - j.
    phases = weight.reshape(inputs, count, taps, stride, taps, stride)[:, :, ::-1, :, ::-1, :]
    unfolded = phases.transpose(3, 5, 1, 2, 4, 0).reshape(-1, taps, taps, inputs)
    outputs = np.tile(np.arange(count), stride**2)
    return Convolution(unfolded, bias[outputs], outputs, 1, taps - 1 - shift, unfold=stride)
