"""Tell whether two artifacts hold the same graph and the same weights, whatever their cards say."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge_runtime.errors import MissingExtraError
from edge_runtime.models.card import METADATA_KEY
from export.errors import ExportError

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", "export") from None


class Content(NamedTuple):
    """What an artifact computes.

    Attributes:
        graph: operators with their attributes and how they are connected, names left out, because
            versions of a toolchain name things differently.
        weights: of each constant its type, shape and hash of its bytes.
    """

    graph: list[Any]
    weights: list[tuple[Any, ...]]


def difference(artifact: Path, other: Path) -> str | None:
    """Return ``'graph'`` or ``'weights'``, whichever differs first, or None.

    Args:
        artifact: ONNX or TFLite, by its suffix.
        other: of the same format.

    Raises:
        ExportError: a file that cannot be read or is not of its format.
    """
    read = _read_onnx if artifact.suffix == ".onnx" else _read_tflite
    one, two = read(artifact), read(other)
    return "graph" if one.graph != two.graph else "weights" if one.weights != two.weights else None


def _read_onnx(path: Path) -> Content:
    try:
        model = onnx.load_model_from_string(_content(path))
    except DecodeError as error:
        raise ExportError(f"{path}: torn or not an ONNX file; export it again") from error
    numbers: dict[str, int] = {"": -1}  # an optional input that is left out

    def number(names: Any) -> list[int]:
        return [numbers.setdefault(name, len(numbers)) for name in names]

    ends = [[tensor.name for tensor in side] for side in (model.graph.input, model.graph.output)]
    graph: list[Any] = [ends, [(entry.domain, entry.version) for entry in model.opset_import]]
    number(ends[0])
    for node in model.graph.node:
        attributes = sorted(entry.SerializeToString() for entry in node.attribute)
        graph.append((node.op_type, attributes, number(node.input), number(node.output)))
    graph.append(number(ends[1]))
    weights = [
        (numbers.get(tensor.name, len(numbers)), *_described(onnx.numpy_helper.to_array(tensor)))
        for tensor in model.graph.initializer
    ]
    return Content(graph, sorted(weights))


def _read_tflite(path: Path) -> Content:
    from export.tflite.writer import schema

    content = _content(path)
    try:
        if content[4:8] != b"TFL3":
            raise ValueError("no TFLite file")
        model = schema.ModelT.InitFromPackedBuf(content)
    except (struct.error, IndexError, TypeError, ValueError) as error:  # offsets into nowhere
        raise ExportError(f"{path}: torn or not a TFLite file; export it again") from error
    cards = [entry for entry in model.metadata or () if entry.name == METADATA_KEY.encode()]
    model.metadata = [entry for entry in model.metadata or () if entry not in cards]
    for entry in cards:
        model.buffers[entry.buffer].data = None
    weights = []
    for buffer in model.buffers:
        data = np.zeros(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)
        weights.append(_described(data))
    while weights and weights[-1][1] == (0,):  # that of the card was the last
        weights.pop()
    model.buffers, model.description = [], None  # the latter names the version
    return Content([_plain(model)], list(weights))


def _described(values: Any) -> tuple[str, tuple[int, ...], str]:
    return (str(values.dtype), values.shape, hashlib.sha256(values.tobytes()).hexdigest())


def _plain(value: Any) -> Any:
    """Return a table of a flatbuffer as lists and dictionaries, which compare by value."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {"kind": type(value).__name__, **{k: _plain(v) for k, v in vars(value).items()}}
    return value


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from error
