"""Turn a checkpoint into an ONNX model."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

from core.checkpoint import Checkpoint
from edge_runtime import __version__
from edge_runtime.errors import MissingExtraError
from export.errors import ExportError
from export.graph import ExportGraph
from export.qdq import store_codes

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


def to_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Export a checkpoint in its own precision; equal checkpoints and versions give equal bytes.

    Args:
        checkpoint: any architecture whose config has a ``size_multiple``. int8 becomes
            QuantizeLinear and DequantizeLinear around each operation, with int8 weights; fp16
            computes in float16 between float32 pictures.

    Returns:
        A model with the input ``rainy`` and the output ``derained``, both float32
        (batch, 3, height, width), RGB in [0, 1] and clamped; all three sizes are dynamic. All
        weights are inside, and it has passed ``onnx.checker`` with shape inference.

    Raises:
        CheckpointError: weights that do not fit the config.
        ExportError: an operation that ONNX cannot hold.
    """
    graph = ExportGraph(checkpoint.build()).eval()
    side = 4 * checkpoint.config.size_multiple
    try:
        exported = _trace(graph, torch.zeros(2, 3, side, side + checkpoint.config.size_multiple))
        model = min(exported, _simplified(exported), key=lambda candidate: candidate.ByteSize())
        if checkpoint.precision == "int8":
            store_codes(model)
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


def _trace(graph: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
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
            graph,
            (example,),
            file,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: _DYNAMIC_AXES, OUTPUT: _DYNAMIC_AXES},
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
