"""A compact graph computes the same, in fewer bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.compact import compact


def _graph(**attributes: object) -> onnx.ModelProto:
    """Return two convolutions with long names, the second with these attributes."""
    generator = np.random.default_rng(0)
    weights = {
        "network.first.weight": generator.normal(size=(4, 3, 3, 3)),
        "onnx::Conv_17": generator.normal(size=(4, 3, 3, 3)),
    }
    tensors = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    plain = {"pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    nodes = [
        helper.make_node("Conv", ["rainy", name], [f"/network/{name}/out"], f"/n/{name}", **values)
        for name, values in zip(weights, (plain, {**plain, **attributes}), strict=True)
    ]
    nodes.append(helper.make_node("Add", [node.output[0] for node in nodes], ["derained"], "/add"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, "h", "w"])
        for name, channels in (("rainy", 3), ("derained", 4))
    ]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rainy = np.random.default_rng(1).random((1, 3, 9, 9), np.float32)
    result: np.ndarray = session.run(None, {"rainy": rainy})[0]
    return result


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({}, {"pads"}),
        ({"dilations": [2, 2], "pads": [2, 2, 2, 2]}, {"pads", "dilations"}),
        ({"kernel_shape": [3, 3]}, {"pads", "kernel_shape"}),
    ],
)
def test_it_computes_the_same_in_fewer_bytes(attributes: dict[str, object], kept: set[str]) -> None:
    model = _graph(**attributes)
    wanted, before = _run(model), model.ByteSize()
    compact(model.graph)
    np.testing.assert_array_equal(_run(model), wanted)
    assert model.ByteSize() < before - 150
    assert {entry.name for entry in model.graph.node[1].attribute} == kept


def test_pads_of_zero_go_and_strides_stay() -> None:
    model = _graph()
    for node in model.graph.node[:2]:
        for entry in node.attribute:
            changed = {"pads": [0, 0, 0, 0], "strides": [2, 2]}.get(entry.name)
            if changed is not None:
                entry.CopyFrom(helper.make_attribute(entry.name, changed))
    wanted = _run(model)
    compact(model.graph)
    np.testing.assert_array_equal(_run(model), wanted)
    for node in model.graph.node[:2]:
        assert {entry.name for entry in node.attribute} == {"strides"}


def test_names_to_be_found_by_stay() -> None:
    model = _graph()
    compact(model.graph)
    graph = model.graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["rainy", "derained"]
    assert graph.initializer[0].name == "first.weight"
    assert all(not node.name for node in graph.node)
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    assert len(names) == 6
    assert max(map(len, names - {"first.weight", "rainy", "derained"})) == 2
