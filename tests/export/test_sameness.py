"""Artifacts are compared by what they compute."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from core.checkpoint import Checkpoint
from edge_runtime.models.card import METADATA_KEY
from export.errors import ExportError
from export.sameness import difference


def changed(artifact: Path, change: str) -> Path:
    model = onnx.load(artifact)
    graph = model.graph
    if change == "card":
        model.metadata_props[0].value = "{}"
    elif change == "producer":
        model.producer_version = "9"
    elif change == "names":
        renamed = {name: f"{name}_" for node in graph.node for name in node.output}
        renamed |= {tensor.name: f"w_{tensor.name}" for tensor in graph.initializer}
        del renamed["derained"]
        for node in graph.node:
            node.name = f"other_{node.name}"
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        for tensor in graph.initializer:
            tensor.name = renamed[tensor.name]
    elif change == "order":
        tensors = list(graph.initializer)[::-1]
        del graph.initializer[:]
        graph.initializer.extend(tensors)
    elif change == "weights":
        values = onnx.numpy_helper.to_array(graph.initializer[0]) + np.float32(1e-6)
        kept = onnx.numpy_helper.from_array(values, graph.initializer[0].name)
        graph.initializer[0].CopyFrom(kept)
    elif change == "operator":
        next(node for node in graph.node if node.op_type == "Relu").op_type = "Sigmoid"
    elif change == "edge":
        adds = [node for node in graph.node if node.op_type == "Add"]
        adds[0].input[0] = adds[0].input[1]
    else:
        convolution = next(node for node in graph.node if node.op_type == "Conv")
        next(entry for entry in convolution.attribute if entry.name == "pads").ints[0] += 1
    path = artifact.with_name(f"{change}.onnx")
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("change", ["card", "producer", "names", "order"])
def test_what_makes_no_difference(artifact: Path, change: str) -> None:
    assert difference(artifact, changed(artifact, change)) is None


@pytest.mark.parametrize(
    ("change", "found"),
    [("weights", "weights"), ("operator", "graph"), ("edge", "graph"), ("attribute", "graph")],
)
def test_what_makes_one(artifact: Path, change: str, found: str) -> None:
    assert difference(artifact, changed(artifact, change)) == found


@pytest.mark.parametrize("name", ["no.onnx", "no.tflite"])
def test_other_files_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(ExportError, match="cannot be read"):
        difference(path, path)
    for content in (b"", b"\xff" * 40, b"\xff" * 4 + b"TFL3" + b"\xff" * 40):
        path.write_bytes(content + b"\x00")
        with pytest.raises(ExportError, match="torn or not"):
            difference(path, path)


def test_tflite_artifacts_are_compared_too(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="writes TFLite files")
    from export.tflite.metadata import with_metadata
    from export.to_tflite import to_tflite

    content = to_tflite(checkpoint, "fp32")
    weights = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 0.01}
    files = {
        "plain": content,
        "carded": with_metadata(content, METADATA_KEY, "{}"),
        "noted": with_metadata(content, "other", "text"),
        "moved": to_tflite(dataclasses.replace(checkpoint, weights=weights), "fp32"),
        "half": to_tflite(checkpoint, "fp16"),
    }
    paths = {name: tmp_path / f"{name}.tflite" for name in files}
    for name, path in paths.items():
        path.write_bytes(files[name])
    assert difference(paths["plain"], paths["carded"]) is None
    assert difference(paths["plain"], paths["moved"]) == "weights"
    assert difference(paths["plain"], paths["noted"]) == "graph"
    assert difference(paths["plain"], paths["half"]) == "graph"
