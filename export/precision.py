"""The precisions that a checkpoint can be exported in."""

from __future__ import annotations

import dataclasses
from typing import Literal

from core.checkpoint import Checkpoint
from core.quantization import Quantization
from export.errors import ExportError

Precision = Literal["fp32", "fp16", "int8", "dynamic"]
"""Of an artifact; ``dynamic`` is TFLite's dynamic range: int8 weights, float activations."""
Io = Literal["float32", "int8"]
"""Type of the pictures that an artifact takes and returns."""


def at_precision(checkpoint: Checkpoint, precision: Precision) -> Checkpoint:
    """Return ``checkpoint`` with the arithmetic of ``precision``; the weights stay.

    Raises:
        ExportError: int8 of a checkpoint that has no int8 scales.
    """
    if precision == checkpoint.precision:
        return checkpoint
    if precision == "int8":
        raise ExportError(
            f"{checkpoint.name}: is {checkpoint.precision} and has no int8 scales; name the "
            "checkpoint that compress quantize --scheme int8 makes of it"
        )
    quantization = Quantization("fp16") if precision == "fp16" else None
    return dataclasses.replace(checkpoint, quantization=quantization)
