"""ONNX models of checkpoints."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from core.checkpoint import Checkpoint
from edge_runtime import __version__
from edge_runtime.errors import MissingExtraError
from export.errors import ExportError
from export.graph import (
    INPUTS,
    OUTPUTS,
    ExportGraph,
    HalfStep,
    Io,
    check_io,
    state_shape,
    step_graph,
)
from export.qdq import store_codes, take_codes

try:
    import onnx
    import onnxslim
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", "export") from None

OPSET = 17
"""ONNX operator set: read by ONNX Runtime from 1.12 (2022) on."""
INPUT, OUTPUT = "rainy", "derained"
PRODUCER = "edge-derain"

_DYNAMIC_AXES = {0: "batch", 2: "height", 3: "width"}


def to_onnx(
    checkpoint: Checkpoint, io: Io = "float32", size: tuple[int, int] | None = None
) -> onnx.ModelProto:
    """Export a checkpoint in its own precision; equal checkpoints and versions give equal bytes.

    Args:
        checkpoint: any architecture whose config has a ``size_multiple``. int8 becomes
            QuantizeLinear and DequantizeLinear around each operation, with int8 weights; fp16
            computes in float16 between float32 pictures.
        io: ``uint8`` takes and returns pictures as they are in files, NHWC; needs int8.
        size: the one legal (height, width) that the model takes, one picture at a time; None
            leaves all three open.

    Returns:
        A model with the input ``rainy`` and the output ``derained``, both float32
        (batch, 3, height, width), RGB in [0, 1] and clamped; without ``size`` all three sizes are
        dynamic. With ``io`` uint8 both are (batch, height, width, 3) in 0..255. All weights are
        inside, and it has passed ``onnx.checker`` with shape inference.

    Raises:
        CheckpointError: weights that do not fit the config.
        ExportError: an operation that ONNX cannot hold, or uint8 pictures of another precision.
    """
    check_io(io, "uint8", checkpoint.precision)
    graph = ExportGraph(checkpoint.build()).eval()
    rainy = _example(checkpoint) if size is None else torch.zeros(1, 3, *size)
    return _to_model(checkpoint, _Traced(graph, (rainy,), (INPUT,), (OUTPUT,), size is None), io)


def step_to_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Export one stage of a recurrent checkpoint.

    Returns:
        A model with the inputs and outputs of :class:`export.graph.StepGraph`, float32 and
        dynamic in batch, height and width; otherwise as :func:`to_onnx`.

    Raises:
        CheckpointError: weights that do not fit the config.
        ExportError: the network hands no state from stage to stage, or it is int8.
    """
    step = step_graph(checkpoint)
    graph = HalfStep(step).eval() if checkpoint.precision == "fp16" else step
    rainy = _example(checkpoint)
    count, _, height, width = rainy.shape
    state = torch.zeros(state_shape(checkpoint, count, height, width))
    return _to_model(checkpoint, _Traced(graph, (rainy, rainy, state, state), INPUTS, OUTPUTS))


class _Traced(NamedTuple):
    """A graph, an example of its inputs, the names of its inputs and outputs, and their sizes."""

    graph: nn.Module
    example: tuple[torch.Tensor, ...]
    inputs: Sequence[str]
    outputs: Sequence[str]
    dynamic: bool = True

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """The sizes that stay open; states, which may be smaller, have sizes of their own."""
        if not self.dynamic:
            return {}
        states = {0: "batch", 2: "state_height", 3: "state_width"}
        return {
            name: states if name[0] in "hc" else _DYNAMIC_AXES
            for name in (*self.inputs, *self.outputs)
        }


def _example(checkpoint: Checkpoint) -> torch.Tensor:
    side = 4 * checkpoint.config.size_multiple
    return torch.zeros(2, 3, side, side + checkpoint.config.size_multiple)


def _to_model(checkpoint: Checkpoint, traced: _Traced, io: Io = "float32") -> onnx.ModelProto:
    try:
        exported = _trace(traced)
        model = min(exported, _simplified(exported), key=lambda candidate: candidate.ByteSize())
        if checkpoint.precision == "int8":
            store_codes(model)
        if io == "uint8":
            take_codes(model)
        onnx.checker.check_model(model, full_check=True)
    except (
        torch.onnx.OnnxExporterError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        cause = str(error).strip().splitlines()[0]
        raise ExportError(
            f"{checkpoint.name}: {checkpoint.architecture} cannot be held by ONNX opset {OPSET} "
            f"({cause}); replace the operation in the network"
        ) from error
    return model


def _trace(traced: _Traced) -> onnx.ModelProto:
    """Export with torch's tracing exporter.

    On these networks it gives the same operations as the newer one, at the opset asked for, with
    nodes named after the modules and no paths of this machine.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # That the exporter is not the default any more, and what it calls inside torch.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # About the reversed list of paddings that it makes, and folds in the end.
        warnings.filterwarnings("ignore", message="Constant folding - Only steps=1")
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            traced.graph,
            traced.example,
            file,
            input_names=list(traced.inputs),
            output_names=list(traced.outputs),
            dynamic_axes=traced.dynamic_axes,
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(file)
    model.producer_name, model.producer_version = PRODUCER, __version__
    return model


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    slim: onnx.ModelProto = onnxslim.slim(model)
    del slim.graph.value_info[:]  # inferred shapes: every engine infers them again
    slim.producer_name, slim.producer_version = model.producer_name, model.producer_version
    return slim
