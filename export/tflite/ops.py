"""Float operations of torch as TFLite operators, for pictures in NHWC."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from core.quantization import TensorScale
from export.errors import ExportError
from export.tflite.writer import Shape, Tensor, TfliteWriter, schema

Operand = Tensor | float
_AXES = (0, 3, 1, 2)
"""Axis of NHWC by axis of NCHW."""


class Emitter:
    """Writes the operators of one node: what torch calls by position or name is called so here.

    Tensors are float32, channels last; numbers of axes are those of torch, channels second.
    Operations that move values without changing them also take int8: ``pad``, ``depth_to_space``
    and ``space_to_depth``.

    Args:
        writer: takes the operators.
        name: of what the node computes.
    """

    def __init__(self, writer: TfliteWriter, name: str) -> None:
        self._writer, self._name = writer, name

    def emit(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        shape: Shape,
        options: Any = None,
        stored: TensorScale | None = None,
    ) -> Tensor:
        """Write one operator and return its only output; see :meth:`TfliteWriter.operator`."""
        (output,) = self._writer.operator(
            kind, inputs, self._name, shape, options=options, stored=stored
        )
        return output

    def constant(self, values: Any, dtype: type = np.int32) -> Tensor:
        """Add values that are known now."""
        return self._writer.constant(f"{self._name}/constant", np.array(values, dtype))

    def add(self, x: Operand, y: Operand, relu: bool = False) -> Tensor:
        return self._binary("ADD", x, y, schema.AddOptionsT(activation(relu)))

    def sub(self, x: Operand, y: Operand) -> Tensor:
        return self._binary("SUB", x, y, schema.SubOptionsT())

    def mul(self, x: Operand, y: Operand) -> Tensor:
        return self._binary("MUL", x, y, schema.MulOptionsT())

    def div(self, x: Operand, y: Operand) -> Tensor:
        return self._binary("DIV", x, y, schema.DivOptionsT())

    def relu(self, x: Tensor) -> Tensor:
        return self.emit("RELU", [x], x.shape)

    def leaky_relu(self, x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
        options = schema.LeakyReluOptionsT(alpha=negative_slope)
        return self.emit("LEAKY_RELU", [x], x.shape, options)

    def sigmoid(self, x: Tensor) -> Tensor:
        return self.emit("LOGISTIC", [x], x.shape)

    def tanh(self, x: Tensor) -> Tensor:
        return self.emit("TANH", [x], x.shape)

    def clamp(self, x: Tensor) -> Tensor:
        """Clamp to [0, 1]."""
        return self.emit("RELU_0_TO_1", [x], x.shape)

    def cat(self, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
        axis = _AXES[dim]
        shape = list(tensors[0].shape)
        shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
        options = schema.ConcatenationOptionsT(axis=axis)
        return self.emit("CONCATENATION", tensors, tuple(shape), options)

    def chunk(self, x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        axis, shape = _AXES[dim], list(x.shape)
        if shape[axis] % chunks:
            raise ExportError(f"{self._name}: {shape[axis]} channels are not {chunks} equal parts")
        shape[axis] //= chunks
        return self._writer.operator(
            "SPLIT",
            [self.constant(axis), x],
            self._name,
            *[tuple(shape)] * chunks,
            options=schema.SplitOptionsT(numSplits=chunks),
        )

    def getitem(self, x: Tensor | tuple[Tensor, ...], index: Any) -> Tensor:
        if isinstance(x, tuple):
            part: Tensor = x[index]
            return part
        ordered = [index[axis] for axis in (0, 2, 3, 1)]
        spans = [range(*cut.indices(size)) for cut, size in zip(ordered, x.shape, strict=True)]
        if any(cut.step not in (None, 1) for cut in ordered):
            raise ExportError(f"{self._name}: slices with steps are not mapped to TFLite")
        options = schema.StridedSliceOptionsT()
        options.beginMask = sum((cut.start is None) << axis for axis, cut in enumerate(ordered))
        options.endMask = sum((cut.stop is None) << axis for axis, cut in enumerate(ordered))
        bounds = [
            self.constant([cut.start or 0 for cut in ordered]),
            self.constant([cut.stop or 0 for cut in ordered]),
            self.constant([1] * len(ordered)),
        ]
        return self.emit("STRIDED_SLICE", [x, *bounds], tuple(map(len, spans)), options)

    def pad(
        self, x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
    ) -> Tensor:
        if mode != "constant" or value or len(pad) != 4:
            raise ExportError(f"{self._name}: padding {pad} {mode} {value} is not mapped")
        left, right, top, bottom = pad
        margins = [[0, 0], [top, bottom], [left, right], [0, 0]]
        shape = tuple(size + sum(margin) for size, margin in zip(x.shape, margins, strict=True))
        inputs = [x, self.constant(margins)]
        return self.emit("PAD", inputs, shape, schema.PadOptionsT(), x.stored)

    def avg_pool2d(
        self,
        x: Tensor,
        kernel_size: int | tuple[int, int],
        stride: int | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor:
        sides = _pair(kernel_size)
        strides, margins = _pair(stride or kernel_size), _pair(padding)
        same = strides == (1, 1) and all(
            2 * margin == side - 1 for margin, side in zip(margins, sides, strict=True)
        )
        # SAME counts only what is inside the picture.
        if ceil_mode or not (margins == (0, 0) or (same and not count_include_pad)):
            raise ExportError(
                f"{self._name}: an average over {sides} with padding {margins} is not mapped"
            )
        options = schema.Pool2DOptionsT()
        options.padding = schema.Padding.SAME if same else schema.Padding.VALID
        options.filterHeight, options.filterWidth = sides
        options.strideH, options.strideW = strides
        count, height, width, channels = x.shape
        if not same:
            height = (height - sides[0]) // strides[0] + 1
            width = (width - sides[1]) // strides[1] + 1
        return self.emit("AVERAGE_POOL_2D", [x], (count, height, width, channels), options)

    def adaptive_avg_pool2d(self, x: Tensor, output_size: int) -> Tensor:
        if output_size != 1:
            raise ExportError(f"{self._name}: only means over the whole picture are mapped")
        options = schema.ReducerOptionsT(keepDims=True)
        return self.emit(
            "MEAN", [x, self.constant([1, 2])], (x.shape[0], 1, 1, x.shape[3]), options
        )

    def interpolate(
        self,
        x: Tensor,
        size: None = None,
        scale_factor: float = 1.0,
        mode: str = "nearest",
        align_corners: None = None,
        recompute_scale_factor: None = None,
        antialias: bool = False,
    ) -> Tensor:
        """Repeat each pixel, as channels that are dealt out over a block: sizes stay unsaid."""
        factor = int(scale_factor)
        if size or mode != "nearest" or factor != scale_factor:
            raise ExportError(f"{self._name}: interpolation {mode} x {scale_factor} is not mapped")
        return self.depth_to_space(self.cat([x] * factor**2, dim=1), factor)

    def depth_to_space(self, x: Tensor, block: int) -> Tensor:
        """Unfold channels into blocks of pixels: row of the block, column, channel."""
        count, height, width, channels = x.shape
        shape = (count, height * block, width * block, channels // block**2)
        options = schema.DepthToSpaceOptionsT(blockSize=block)
        return self.emit("DEPTH_TO_SPACE", [x], shape, options, x.stored)

    def space_to_depth(self, x: Tensor, block: int) -> Tensor:
        """Undo :meth:`depth_to_space`."""
        count, height, width, channels = x.shape
        shape = (count, height // block, width // block, channels * block**2)
        options = schema.SpaceToDepthOptionsT(blockSize=block)
        return self.emit("SPACE_TO_DEPTH", [x], shape, options, x.stored)

    def quantize(self, x: Tensor, stored: TensorScale) -> Tensor:
        """Round float32 to int8 codes."""
        return self.emit("QUANTIZE", [x], x.shape, schema.QuantizeOptionsT(), stored)

    def dequantize(self, x: Tensor) -> Tensor:
        """Return int8 codes or float16 as float32."""
        return self.emit("DEQUANTIZE", [x], x.shape, schema.DequantizeOptionsT())

    def _binary(self, kind: str, x: Operand, y: Operand, options: Any) -> Tensor:
        left, right = self._operand(x), self._operand(y)
        return self.emit(kind, [left, right], np.broadcast_shapes(left.shape, right.shape), options)

    def _operand(self, value: Operand) -> Tensor:
        return value if isinstance(value, Tensor) else self.constant(value, np.float32)


OPERATIONS: dict[Any, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    operator.add: Emitter.add,
    torch.add: Emitter.add,
    operator.sub: Emitter.sub,
    operator.mul: Emitter.mul,
    operator.truediv: Emitter.div,
    operator.getitem: Emitter.getitem,
    torch.cat: Emitter.cat,
    "chunk": Emitter.chunk,
    torch.relu: Emitter.relu,
    F.relu: Emitter.relu,
    F.leaky_relu: Emitter.leaky_relu,
    torch.sigmoid: Emitter.sigmoid,
    torch.tanh: Emitter.tanh,
    F.pad: Emitter.pad,
    F.avg_pool2d: Emitter.avg_pool2d,
    F.adaptive_avg_pool2d: Emitter.adaptive_avg_pool2d,
    F.interpolate: Emitter.interpolate,
}
"""By what the node of a traced graph calls."""


def activation(relu: bool) -> int:
    """Return the code of the activation that an operator takes into itself."""
    kinds = schema.ActivationFunctionType
    return int(kinds.RELU if relu else kinds.NONE)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
