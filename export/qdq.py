"""Codes that a quantized ONNX model stores: int8 weights, and activations as engines run them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import MissingExtraError

try:
    import onnx
    from onnx import numpy_helper
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", "export") from None

_QDQ = ("QuantizeLinear", "DequantizeLinear")
_SHIFT = 128


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
    used = {name for node in graph.node for name in node.input}
    for name, tensor in tensors.items():
        if name not in used:
            graph.initializer.remove(tensor)
    _number(graph)


def _shuffle_codes(graph: onnx.GraphProto) -> None:
    """Deal out codes rather than floats: a shuffle before QuantizeLinear changes places with it.

    Engines run a convolution in integers where its own output is what is quantized.
    """
    nodes = list(graph.node)
    for place, (shuffle, quantize) in enumerate(itertools.pairwise(nodes)):
        if (shuffle.op_type, quantize.op_type) == ("DepthToSpace", "QuantizeLinear"):
            assert quantize.input[0] == shuffle.output[0]
            quantize.input[0], between = shuffle.input[0], f"{shuffle.output[0]}_codes"
            quantize.output[0], shuffle.output[0] = between, quantize.output[0]
            shuffle.input[0] = between
            nodes[place], nodes[place + 1] = quantize, shuffle
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copied)


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
