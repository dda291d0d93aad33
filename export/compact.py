"""Leave out of an ONNX graph what engines do not read: a tenth of a small int8 file."""

from __future__ import annotations

from typing import Any

import onnx

_PREFIX = "network."
_DEFAULTS: dict[str, Any] = {
    "dilations": lambda values: set(values) == {1},
    "group": lambda value: value == 1,
    "pads": lambda values: not any(values),
    "strides": lambda values: set(values) == {1},
}
"""Attributes of convolutions, and whether a value is what leaving them out means."""


def compact(graph: onnx.GraphProto) -> None:
    """Shorten names and drop attributes that say what is so without them, in place.

    Inputs, outputs and weights keep names to be found by, the weights those of the checkpoint;
    scales, zero points and what flows between nodes are numbered. Nodes have no names, which the
    format leaves open. The graph computes what it did, in the same order.
    """
    ends = {value.name for value in (*graph.input, *graph.output)}
    short: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.name.startswith(_PREFIX):
            short[tensor.name] = tensor.name.removeprefix(_PREFIX)
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name and name not in ends:
                    names[place] = short.setdefault(name, f"t{len(short)}")
        if node.op_type in ("Conv", "ConvTranspose"):
            _drop_defaults(node)
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)


def _drop_defaults(node: onnx.NodeProto) -> None:
    kept = [
        entry
        for entry in node.attribute
        if not _DEFAULTS.get(entry.name, lambda _: False)(onnx.helper.get_attribute_value(entry))
    ]
    del node.attribute[:]
    node.attribute.extend(kept)
