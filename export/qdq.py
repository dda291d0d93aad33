"""Codes that a quantized ONNX model stores: int8 weights, and activations as engines run them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import MissingExtraError

try:
    import onnx
    from onnx import helper, numpy_helper
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", "export") from None

_QDQ = ("QuantizeLinear", "DequantizeLinear")
_SHIFT = 128
_FIRST, _LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Axes that put channels first, and last."""
_ROWS = (0, 1, 3, 2, 4)
"""Axes between blocks of pixels and rows of pixels, both ways."""
_LEVELS = ("level", "level_zero")
"""Scale and zero point of pictures of 8 bits."""
_PIXELS = "pixels_float"


def store_codes(model: onnx.ModelProto) -> None:
    """Turn a model as torch exports its fake quantization into one that runs in int8, in place.

    ``float weight -> QuantizeLinear`` becomes the int8 weight, the pre-quantized form that ONNX
    Runtime and TensorRT read. Biases stay float: TensorRT refuses others, and ONNX Runtime (from
    1.21 on) turns them into int32 itself.

    Activations become uint8 with zero points 128 higher, which is the same arithmetic, unless all
    zero points are 0. On x86 ONNX Runtime has integer kernels for uint8 activations only, on ARM
    for both; TensorRT takes int8 with zero points 0 and nothing else.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = set()
    for node in [node for node in graph.node if node.input and node.input[0] in tensors]:
        if node.op_type == "QuantizeLinear":
            codes = numpy_helper.from_array(_codes(node, tensors), f"{node.input[0]}_int8")
            graph.initializer.append(codes)
            readers = [reader for reader in graph.node if node.output[0] in reader.input]
            for reader in readers:
                reader.input[0] = codes.name
            weights.add(codes.name)
            graph.node.remove(node)
    activations = [
        node for node in graph.node if node.op_type in _QDQ and node.input[0] not in weights
    ]
    points = dict.fromkeys(node.input[2] for node in activations)
    if any(numpy_helper.to_array(tensors[name]).any() for name in points):
        for name in points:
            raised = numpy_helper.to_array(tensors[name]).astype(np.int16) + _SHIFT
            unsigned = numpy_helper.from_array(raised.astype(np.uint8), f"{name}_uint8")
            graph.initializer.append(unsigned)
        for node in activations:
            node.input[2] += "_uint8"
    _shuffle_codes(graph)
    _remove_unused(graph)
    _number(graph)


def take_codes(model: onnx.ModelProto) -> None:
    """Let a model with stored codes take and return pictures as uint8, NHWC, in place.

    Code 0 is 0 and 255 is 1. Saturating to the codes of the result is what clamps it, so the last
    addition runs in integers too.
    """
    graph = model.graph
    (rainy,), (derained,) = graph.input, graph.output
    first = [
        helper.make_node("Transpose", [rainy.name], ["pixels"], perm=_FIRST),
        helper.make_node("DequantizeLinear", ["pixels", *_LEVELS], [_PIXELS]),
    ]
    last = [
        helper.make_node("QuantizeLinear", ["sum", *_LEVELS], ["codes"]),
        helper.make_node("Transpose", ["codes"], [derained.name], perm=_LAST),
    ]
    scale, zero = _LEVELS
    graph.initializer.append(numpy_helper.from_array(np.array(1 / 255, np.float32), scale))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), zero))
    known = {rainy.name: _PIXELS}  # its codes too, whatever their scale was
    between = []
    for node in graph.node:
        if node.op_type in _QDQ and node.input[0] in known:
            known[node.output[0]] = _PIXELS
        elif derained.name in node.output:
            last[0].input[0] = node.input[0]
        else:
            node.input[:] = [known.get(name, name) for name in node.input]
            between.append(node)
    _replace(graph, [*first, *between, *last])
    for picture in (rainy, derained):
        kind = picture.type.tensor_type
        kind.elem_type = onnx.TensorProto.UINT8
        shape = onnx.TensorShapeProto.FromString(kind.shape.SerializeToString())
        del kind.shape.dim[:]
        kind.shape.dim.extend(shape.dim[axis] for axis in _LAST)
    _Dealing(graph, rainy.name).run()
    _remove_unused(graph)


class _Dealing:
    """Deals channels out over pixels, and pixels into channels, where channels are last.

    A row of a block is one run of bytes there, and integer convolutions of ONNX Runtime have that
    layout: its DepthToSpace, and a strided convolution of three colours, take several times as
    long.

    Args:
        graph: takes codes of pictures; changed in place.
        rainy: name of the picture, NHWC.
    """

    def __init__(self, graph: onnx.GraphProto, rainy: str) -> None:
        self._graph, self._rainy = graph, rainy
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in list(self._graph.node):
            maker = self._makers.get(node.input[0])
            if node.op_type == "DepthToSpace" and maker and maker.op_type == "QuantizeLinear":
                self._unfold(node)
                continue
            if node.op_type == "Conv" and node.input[0] == _PIXELS:
                self._fold(node)
            self._nodes.append(node)
        _replace(self._graph, self._nodes)

    def _unfold(self, shuffle: onnx.NodeProto) -> None:
        """Replace a shuffle of codes, and order the convolution before it as channels last are."""
        side = helper.get_node_attr_value(shuffle, "blocksize")
        convolution = self._makers[self._makers[shuffle.input[0]].input[0]]
        channels = len(numpy_helper.to_array(self._tensors[convolution.input[2]])) // side**2
        self._rewrite(
            convolution,
            lambda values: (
                values.reshape(-1, side**2, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)
            ),
        )
        x = self._add("Transpose", [shuffle.input[0]], perm=_LAST)
        x = self._add("Reshape", [x, self._sizes(0, 0, 0, side, -1)])
        x = self._add("Transpose", [x], perm=_ROWS)  # count, row, its line, column, pixels
        lines = self._add("Reshape", [x, self._sizes(0, 0, 0, -1, channels)])
        shape = [self._size(lines, 0), self._sizes(-1), self._size(lines, 3), self._size(lines, 4)]
        x = self._add("Reshape", [lines, self._add("Concat", shape, axis=0)])
        self._nodes.append(helper.make_node("Transpose", [x], shuffle.output, perm=_FIRST))

    def _fold(self, convolution: onnx.NodeProto) -> None:
        """Let a convolution whose kernel is whole strides wide read blocks of pixels."""
        attributes = {each.name: each for each in convolution.attribute}
        (side, *_), (kernel, *_) = attributes["strides"].ints, attributes["kernel_shape"].ints
        margins = list(attributes["pads"].ints)
        if side == 1 or kernel % side or margins[0] % side:
            return
        taps = kernel // side

        def folded(values: NDArray[Any]) -> NDArray[Any]:
            if values.ndim == 1:
                return values
            blocks = values.reshape(len(values), 3, taps, side, taps, side)
            pixels: NDArray[Any] = blocks.transpose(0, 3, 5, 1, 2, 4)
            return pixels.reshape(len(values), -1, taps, taps)

        self._rewrite(convolution, folded)
        for name, value in (
            ("strides", [1, 1]),
            ("kernel_shape", [taps, taps]),
            ("pads", [margin // side for margin in margins]),
        ):
            attributes[name].ints[:] = value
        x = self._add("Reshape", [self._rainy, self._sizes(0, 0, -1, 3 * side)])
        shape = [self._size(x, 0), self._sizes(-1, side), self._size(x, 2), self._size(x, 3)]
        x = self._add("Reshape", [x, self._add("Concat", shape, axis=0)])
        x = self._add("Transpose", [x], perm=_ROWS)
        x = self._add("Reshape", [x, self._sizes(0, 0, 0, 3 * side**2)])
        x = self._add("Transpose", [x], perm=_FIRST)
        convolution.input[0] = self._add("DequantizeLinear", [x, *_LEVELS])

    def _rewrite(
        self, convolution: onnx.NodeProto, change: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> None:
        """Change what a convolution has of each output channel: weights, scales and bias."""
        stored = self._makers.get(convolution.input[1])
        places = [(convolution, 2), *([(stored, 0), (stored, 1)] if stored else [(convolution, 1)])]
        for node, place in places:
            values = change(numpy_helper.to_array(self._tensors[node.input[place]]))
            node.input[place] = self._constant(np.ascontiguousarray(values))

    def _size(self, x: str, axis: int) -> str:
        return self._add("Shape", [x], start=axis, end=axis + 1)

    def _sizes(self, *sizes: int) -> str:
        return self._constant(np.array(sizes, np.int64))

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"dealt{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"block{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name


def _replace(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copied)


def _remove_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _shuffle_codes(graph: onnx.GraphProto) -> None:
    """Deal out codes rather than floats: a shuffle before QuantizeLinear changes places with it.

    Engines run a convolution in integers where its own output is what is quantized.
    """
    nodes = list(graph.node)
    for place, (shuffle, quantize) in enumerate(itertools.pairwise(nodes)):
        kinds = shuffle.op_type, quantize.op_type, quantize.input[0]
        if kinds == ("DepthToSpace", "QuantizeLinear", shuffle.output[0]):
            quantize.input[0], between = shuffle.input[0], f"{shuffle.output[0]}_codes"
            quantize.output[0], shuffle.output[0] = between, quantize.output[0]
            shuffle.input[0] = between
            nodes[place], nodes[place + 1] = quantize, shuffle
    _replace(graph, nodes)


def _number(graph: onnx.GraphProto) -> None:
    """Number what flows between nodes: torch's names of it are a tenth of a small file."""
    kept = {"", *(each.name for each in (*graph.input, *graph.output))}
    kept |= {tensor.name for tensor in graph.initializer if tensor.name.startswith("network.")}
    short: dict[str, str] = {}
    for node in graph.node:
        node.ClearField("name")
        for names in (node.input, node.output):
            names[:] = [
                name if name in kept else short.setdefault(name, f"t{len(short)}") for name in names
            ]
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)


def _codes(node: onnx.NodeProto, tensors: dict[str, onnx.TensorProto]) -> NDArray[np.int8]:
    weight, scales, zeros = (numpy_helper.to_array(tensors[name]) for name in node.input)
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
    shape = [1] * weight.ndim
    shape[axis] = -1
    codes = np.rint(weight / scales.reshape(shape)) + zeros.reshape(shape)
    return np.asarray(np.clip(codes, -128, 127), dtype=np.int8)
