"""TFLite files of checkpoints."""

from __future__ import annotations

from core.checkpoint import Checkpoint
from core.quantization import TensorScale
from edge_runtime import __version__
from export.errors import ExportError
from export.graph import (
    INPUTS,
    OUTPUTS,
    Io,
    Precision,
    at_precision,
    check_io,
    state_shape,
    step_graph,
)
from export.tflite.lowering import Lowering
from export.tflite.ops import Emitter
from export.tflite.writer import TfliteWriter

INPUT, OUTPUT = "rainy", "derained"
EIGHT_BIT = TensorScale(1 / 255, -128)
"""How int8 pictures are stored: code -128 is 0 and 127 is 1, so each is one of 8 bits exactly."""


def to_tflite(
    checkpoint: Checkpoint,
    precision: Precision,
    io: Io = "float32",
    size: tuple[int, int] | None = None,
) -> bytes:
    """Export a checkpoint; equal checkpoints and versions give equal bytes.

    The operators are written as they are, not converted from another graph: the codes, scales and
    sums of an int8 file are those that the checkpoint records.

    Args:
        checkpoint: any architecture whose config has a ``size_multiple``.
        precision: ``fp16`` and ``dynamic`` store smaller weights and compute in float32 (what the
            engine makes of it is its own business); ``int8`` computes in integers wherever the
            checkpoint does.
        io: ``int8`` takes and returns pictures as int8, 8-bit values less 128.
        size: the one legal (height, width) that the model takes, one picture at a time; None
            leaves all sizes open.

    Returns:
        A file with the input ``rainy`` and the output ``derained``, both (batch, height, width, 3),
        RGB in [0, 1] and clamped. Without ``size`` an interpreter can be resized to any batch and
        any legal height and width; as it comes it takes one picture of the smallest.

    Raises:
        CheckpointError: weights or scales that do not fit the config.
        ExportError: an operation that is not mapped to TFLite, int8 of a checkpoint that has no
            int8 scales, or int8 pictures of another precision.
    """
    check_io(io, "int8", precision)
    quantization = at_precision(checkpoint, precision).quantization if precision == "int8" else None
    height, width = size or (checkpoint.config.size_multiple,) * 2
    writer = TfliteWriter(static=size is not None)
    stored = EIGHT_BIT if io == "int8" else None
    rainy = writer.input(INPUT, (1, height, width, 3), stored)
    try:
        lowering = Lowering(checkpoint.unquantized().build(), writer, precision, quantization)
        (derained,) = lowering.run(rainy, stored=stored)
        if derained.stored is None:
            derained = Emitter(writer, "clamped").clamp(derained)
    except ExportError as error:
        raise ExportError(f"{checkpoint.name}: {checkpoint.architecture}: {error}") from None
    if stored is not None and derained.stored is None:
        derained = Emitter(writer, "codes").quantize(derained, stored)
    return writer.finish({OUTPUT: derained}, f"edge-derain {__version__}")


def step_to_tflite(checkpoint: Checkpoint, precision: Precision) -> bytes:
    """Export one stage of a recurrent checkpoint.

    Returns:
        A file with the inputs and outputs of :class:`export.graph.StepGraph`, float32 NHWC,
        which can be resized to any batch, height and width; otherwise as :func:`to_tflite`.

    Raises:
        CheckpointError: weights that do not fit the config.
        ExportError: the network hands no state from stage to stage, an operation is not mapped, or
            the precision is int8.
    """
    graph = step_graph(at_precision(checkpoint, precision))
    side = checkpoint.config.size_multiple
    count, width, *state = state_shape(checkpoint, 1, side, side)
    writer = TfliteWriter()
    shapes = [(count, side, side, 3)] * 2 + [(count, *state, width)] * 2
    inputs = [writer.input(name, shape) for name, shape in zip(INPUTS, shapes, strict=True)]
    try:
        results = Lowering(graph, writer, precision).run(*inputs)
    except ExportError as error:
        raise ExportError(f"{checkpoint.name}: {checkpoint.architecture}: {error}") from None
    outputs = dict(zip(OUTPUTS, results, strict=True))
    return writer.finish(outputs, f"edge-derain {__version__}")
