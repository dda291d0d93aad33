"""A writer of TFLite files: tensors, constants and operators of one graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.quantization import TensorScale
from edge_runtime.errors import MissingExtraError

try:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    raise MissingExtraError((error.name or "ai-edge-litert").replace("_", "-"), "export") from None

schema: Any = schema_py_generated
"""The tables of the format, as classes; it comes with ai-edge-litert."""
Shape = tuple[int, ...]

_SCHEMA = 3
_IDENTIFIER = b"TFL3"
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        index: number of it.
        shape: NHWC for what flows between operators, with one picture of the smallest size.
        dtype: of its elements.
        stored: what int8 codes stand for; None for floats.
    """

    index: int
    shape: Shape
    dtype: np.dtype[Any]
    stored: TensorScale | None = None


class TfliteWriter:
    """A graph under construction. Equal constants are kept once; equal names are numbered.

    Args:
        static: the graph takes the sizes that it is written with, and no others.
    """

    def __init__(self, static: bool = False) -> None:
        self._static = static
        self._buffers = [schema.BufferT()]  # the first is that of all tensors without data
        self._tensors: list[Any] = []
        self._uses: Counter[str] = Counter()
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._inputs: list[Tensor] = []
        self._constants: dict[tuple[Any, ...], Tensor] = {}

    def input(self, name: str, shape: Shape, stored: TensorScale | None = None) -> Tensor:
        """Add an input, int8 if ``stored`` says what its codes stand for."""
        tensor = self._flowing(name, shape, stored)
        self._inputs.append(tensor)
        return tensor

    def constant(
        self, name: str, values: NDArray[Any], scales: NDArray[np.float32] | None = None
    ) -> Tensor:
        """Add values that are known now.

        Args:
            name: of the tensor.
            values: float32, float16, int8 or int32.
            scales: of int8 weights or int32 biases, float32, one for each index of the first
                axis; zero points are 0.
        """
        key = (
            values.tobytes(),
            values.dtype,
            values.shape,
            None if scales is None else scales.tobytes(),
        )
        if key not in self._constants:
            quantization = schema.QuantizationParametersT()
            if scales is not None:
                quantization.scale = scales
                quantization.zeroPoint = np.zeros(len(scales), np.int64)
            content = np.frombuffer(values.tobytes(), np.uint8)
            self._buffers.append(schema.BufferT(data=content))
            self._constants[key] = self._add(
                name, values.shape, values.dtype, quantization, buffer=len(self._buffers) - 1
            )
        return self._constants[key]

    def operator(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        name: str,
        *shapes: Shape,
        options: Any = None,
        stored: TensorScale | None = None,
    ) -> tuple[Tensor, ...]:
        """Add an operator, of the first version that takes these types.

        Args:
            kind: a name of ``BuiltinOperator``, such as ``CONV_2D``.
            inputs: in the order of its definition.
            name: of its output.
            shapes: of its outputs, one or more.
            options: its options table.
            stored: what the codes of int8 outputs stand for; None gives float32.

        Returns:
            The outputs.
        """
        outputs = tuple(self._flowing(name, shape, stored) for shape in shapes)
        code = (getattr(schema.BuiltinOperator, kind), _version(kind, inputs))
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        operator.inputs = [tensor.index for tensor in inputs]
        operator.outputs = [tensor.index for tensor in outputs]
        if options is not None:
            table = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = options
        self._operators.append(operator)
        return outputs

    def finish(self, outputs: dict[str, Tensor], description: str) -> bytes:
        """Return the file.

        Args:
            outputs: those of the graph, by the names that they take.
            description: of the model, in the file.
        """
        for name, tensor in outputs.items():
            self._tensors[tensor.index].name = name
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs = [tensor.index for tensor in self._inputs]
        graph.outputs = [tensor.index for tensor in outputs.values()]
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs = [self._mapping(index) for index in graph.inputs]
        signature.outputs = [self._mapping(index) for index in graph.outputs]
        model = schema.ModelT()
        model.version, model.description = _SCHEMA, description
        model.operatorCodes = [_operator_code(*code) for code in self._codes]
        model.subgraphs, model.buffers = [graph], self._buffers
        model.signatureDefs = [signature]
        return pack(model)

    def _mapping(self, index: int) -> Any:
        mapping = schema.TensorMapT()
        mapping.name, mapping.tensorIndex = self._tensors[index].name, index
        return mapping

    def _flowing(self, name: str, shape: Shape, stored: TensorScale | None) -> Tensor:
        """Add a tensor of any batch, height and width, but in a static graph."""
        quantization = schema.QuantizationParametersT()
        if stored is not None:
            quantization.scale = np.array([stored.scale], np.float32)
            quantization.zeroPoint = np.array([stored.zero_point], np.int64)
        dtype = np.dtype(np.float32 if stored is None else np.int8)
        tensor = self._add(name, shape, dtype, quantization, stored=stored)
        if not self._static:
            self._tensors[tensor.index].shapeSignature = [-1, -1, -1, shape[-1]]
        return tensor

    def _add(
        self,
        name: str,
        shape: Shape,
        dtype: np.dtype[Any],
        quantization: Any,
        buffer: int = 0,
        stored: TensorScale | None = None,
    ) -> Tensor:
        entry = schema.TensorT()
        uses = self._uses[name]
        self._uses[name] += 1
        entry.name = f"{name}:{uses}" if uses else name
        entry.shape, entry.type = list(shape), _TYPES[dtype]
        entry.buffer, entry.quantization, entry.hasRank = buffer, quantization, True
        self._tensors.append(entry)
        return Tensor(len(self._tensors) - 1, tuple(shape), dtype, stored)


def pack(model: Any) -> bytes:
    """Return the file of a ``ModelT``."""
    builder = _SharingBuilder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors once: the zero points of int8 weights are eight bytes a channel."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def _version(kind: str, inputs: Sequence[Tensor]) -> int:
    """Return the version of an operator as TensorFlow's op_version.cc counts them."""
    types = [tensor.dtype for tensor in inputs]
    if kind == "CONV_2D" and types[1] == np.int8:
        return 3 if types[0] == np.int8 else 5
    if kind == "DEQUANTIZE" and types[0] == np.float16:
        return 3
    return 2 if np.int8 in types else 1


def _operator_code(builtin: int, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, 127)  # what readers older than schema 3a look at
    return code
