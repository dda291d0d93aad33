"""The lowering of a traced network to TFLite: which tensor is float, and which is int8."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from core.quantization import MOST, Placement, Quantization, TensorScale, weight_scales
from export.errors import ExportError
from export.graph import Precision
from export.tflite.layers import Convolution, as_convolution
from export.tflite.ops import OPERATIONS, Emitter, activation
from export.tflite.writer import Tensor, TfliteWriter, schema

SMALLEST_DYNAMIC = 1024
"""Weights of fewer numbers stay float32 in dynamic precision, as in TensorFlow's converter."""
_MOST_INT32 = 2**31 - 128  # in float32


@dataclass
class Signal:
    """What a node of the graph stands for: numbers, codes of them, or both.

    Attributes:
        real: float32; None until something reads the codes as numbers.
        codes: int8; None until a layer reads the numbers as codes.
    """

    real: Tensor | None = None
    codes: Tensor | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> Signal:
        return cls(real=tensor) if tensor.stored is None else cls(codes=tensor)


class Lowering:
    """Writes the operators of a network's graph, node by node.

    Pictures flow as NHWC throughout, so nothing is transposed. A layer or addition takes the ReLU
    that follows into itself.

    Args:
        module: a network in float32.
        writer: takes the operators.
        precision: of the weights. In int8, layers and additions run on the codes that
            ``quantization`` records, exactly where :class:`core.quantization.Placement` puts
            them; all else runs on numbers.
        quantization: the record, for int8.
    """

    def __init__(
        self,
        module: nn.Module,
        writer: TfliteWriter,
        precision: Precision,
        quantization: Quantization | None = None,
    ) -> None:
        self._writer, self._precision = writer, precision
        self._weights = quantization.weights if quantization else {}
        self._activations = quantization.activations if quantization else {}
        self._placement = Placement(module, self._weights)
        self._modules = dict(module.named_modules(remove_duplicate=False))
        self._convolutions = {
            name: as_convolution(name, layer) for name, layer in self._placement.layers.items()
        }
        self._signals: dict[fx.Node, Any] = {}
        self._results: dict[fx.Node, TensorScale] = {}
        self._halves: dict[str, Tensor] = {}

    def run(self, *inputs: Tensor, stored: TensorScale | None = None) -> tuple[Tensor, ...]:
        """Write all operators and return the results of the network.

        Args:
            inputs: NHWC, in the order of the module's own, float32 or codes.
            stored: how a result that is the sum of codes is stored, saturated, so that the network
                ends in integers; other results are float32, and all are where it is None.

        Raises:
            ExportError: an operation that is not mapped; names it.
        """
        given = iter(inputs)
        (end,) = (node for node in self._placement.graph.nodes if node.op == "output")
        if stored is not None:
            self._results = dict.fromkeys(end.all_input_nodes, stored)
        for node in self._placement.graph.nodes:
            if node.op == "placeholder":
                self._signals[node] = Signal.of(next(given))
            elif node.op == "output":
                return tuple(map(self._result, node.all_input_nodes))
            elif node not in self._signals:  # where it is not a ReLU that was taken in
                self._lower(node)
        raise ExportError("the network returns nothing")

    def _lower(self, node: fx.Node) -> None:
        layer = node.target if node.op == "call_module" else None
        if layer in self._convolutions:
            self._merge_relu(node, self._layer)
        elif OPERATIONS.get(node.target) is Emitter.add:
            self._merge_relu(node, self._add)
        elif isinstance(self._modules.get(str(layer)), nn.Identity):
            self._signals[node] = self._signals[node.all_input_nodes[0]]
        else:
            self._signals[node] = self._operation(node)

    def _merge_relu(self, node: fx.Node, write: Callable[[fx.Node, fx.Node], Tensor]) -> None:
        """Write a node that takes the ReLU after it into itself; that node then has the result."""
        users = list(node.users)
        relu = len(users) == 1 and self._placement.follows_relu(users[0])
        result = users[0] if relu else node
        self._signals[result] = Signal.of(write(node, result))

    def _layer(self, node: fx.Node, result: fx.Node) -> Tensor:
        name, (source,) = str(node.target), node.all_input_nodes
        layer = self._convolutions[name]
        int8 = name in self._weights
        x = self._codes(source) if int8 else self._real(source)
        emitter = Emitter(self._writer, result.name)
        if layer.fold > 1:
            x = emitter.space_to_depth(x, layer.fold)
        side, stride, margin = layer.weight.shape[1], layer.stride, layer.padding
        side = layer.dilation * (side - 1) + 1
        # Strides divide all sizes, so SAME adds this many zeros, and as many on both sides.
        same = margin > 0 and 2 * margin == side - stride
        if margin and not same:
            x, margin = emitter.pad(x, [margin] * 4), 0
        options = schema.Conv2DOptionsT(fusedActivationFunction=activation(result is not node))
        options.padding = schema.Padding.SAME if same else schema.Padding.VALID
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = layer.dilation
        count, height, width, _ = x.shape
        height, width = ((size + 2 * margin - side) // stride + 1 for size in (height, width))
        output = emitter.emit(
            "CONV_2D",
            [x, *self._parameters(name, layer, x.stored)],
            (count, height, width, layer.weight.shape[0]),
            options,
            self._activations[self._placement.names[result]] if int8 else None,
        )
        return output if layer.unfold == 1 else emitter.depth_to_space(output, layer.unfold)

    def _parameters(
        self, name: str, layer: Convolution, source: TensorScale | None
    ) -> tuple[Tensor, Tensor]:
        """Add weight and bias of a layer; ``source`` is how its input is stored."""
        constant = self._writer.constant
        weight, bias = f"{name}.weight", f"{name}.bias"
        if source is not None:
            scales = np.array(self._weights[name], np.float32)[layer.outputs]
            units = scales * np.float32(source.scale)  # of the int32 sums in integer kernels
            sums = np.clip(np.rint(layer.bias / units), -_MOST_INT32, _MOST_INT32).astype(np.int32)
            codes = constant(weight, _codes(layer.weight, scales), scales)
            return codes, constant(bias, sums, units)
        if self._precision == "dynamic" and layer.weight.size >= SMALLEST_DYNAMIC:
            scales = np.array(weight_scales(torch.from_numpy(layer.weight), 0), np.float32)
            codes = constant(weight, _codes(layer.weight, scales), scales)
            return codes, constant(bias, layer.bias)
        if self._precision == "fp16":
            if name not in self._halves:
                half = constant(weight, layer.weight.astype(np.float16))
                self._halves[name] = self._dequantized(half, weight)
            return self._halves[name], constant(bias, layer.bias)
        return constant(weight, layer.weight), constant(bias, layer.bias)

    def _add(self, node: fx.Node, result: fx.Node) -> Tensor:
        emitter, relu = Emitter(self._writer, result.name), result is not node
        stored = self._results.get(result)
        if result in self._placement.produced:
            stored = self._activations[self._placement.names[result]]
        elif any(self._signals[operand].codes is None for operand in node.all_input_nodes):
            stored = None
        if stored is None:
            operands: Any = fx.map_arg(node.args, self._real)
            return emitter.add(operands[0], operands[1], relu)
        codes = [self._codes(operand) for operand in node.args if isinstance(operand, fx.Node)]
        options = schema.AddOptionsT(fusedActivationFunction=activation(relu))
        return emitter.emit("ADD", codes, codes[0].shape, options, stored)

    def _operation(self, node: fx.Node) -> Signal | tuple[Tensor, ...]:
        if node.target not in OPERATIONS:
            raise ExportError(
                f"operation {node.target} is not mapped to TFLite; "
                "map it in export/tflite/ops.py or replace it in the network"
            )
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._real)
        write = OPERATIONS[node.target]
        try:
            call = inspect.signature(write).bind(Emitter(self._writer, node.name), *args, **kwargs)
        except TypeError as error:
            raise ExportError(
                f"operation {node.format_node()} is mapped to TFLite without that ({error})"
            ) from None
        result = write(*call.args, **call.kwargs)
        return result if isinstance(result, tuple) else Signal.of(result)

    def _result(self, node: fx.Node) -> Tensor:
        codes: Tensor | None = self._signals[node].codes if node in self._results else None
        result: Tensor = self._real(node) if codes is None else codes
        return result

    def _real(self, node: fx.Node) -> Any:
        """Return the numbers that a node stands for; a tuple where it stands for several."""
        signal = self._signals[node]
        if isinstance(signal, tuple):
            return signal
        if signal.real is None:
            signal.real = self._dequantized(signal.codes, node.name)
        return signal.real

    def _codes(self, node: fx.Node) -> Tensor:
        """Return the codes that a node stands for, in the scale that is recorded of it."""
        signal: Signal = self._signals[node]
        if signal.codes is None:
            assert signal.real is not None
            stored = self._activations[self._placement.names[node]]
            emitter = Emitter(self._writer, f"{node.name}/int8")
            signal.codes = emitter.quantize(signal.real, stored)
        return signal.codes

    def _dequantized(self, tensor: Tensor, name: str) -> Tensor:
        return Emitter(self._writer, f"{name}/float32").dequantize(tensor)


def _codes(weight: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return int8 codes of a weight (O, ...) with one symmetric scale an output channel."""
    codes = np.rint(weight / scales.reshape(-1, 1, 1, 1))
    clipped: NDArray[np.float32] = np.clip(codes, -MOST, MOST)
    return clipped.astype(np.int8)
