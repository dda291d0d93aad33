"""The function that an artifact holds: a network, or one stage of it, in some precision."""

from __future__ import annotations

import dataclasses
from typing import Literal

from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.quantization import Quantization
from edge_runtime.models.card import StageStep
from export.errors import ExportError


class ExportGraph(nn.Module):
    """A network whose result is clamped, so that every engine returns legal pixels.

    Shapes: ``rainy`` float32 (N, 3, H, W), RGB in [0, 1], H and W multiples of the network's size
    multiple; ``derained`` is the same.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rainy: Tensor) -> Tensor:
        derained: Tensor = self.network(rainy)
        return derained.clamp(0, 1)


Precision = Literal["fp32", "fp16", "int8", "dynamic"]
"""Of an artifact; ``dynamic`` is TFLite's dynamic range: int8 weights, float activations."""
Io = Literal["float32", "int8", "uint8"]
"""Type of the pictures that an artifact takes and returns; of 8 bits it is int8 in TFLite, and
uint8 in ONNX, NHWC in both."""


def check_io(io: Io, levels: Io, precision: Precision) -> None:
    """Raise ExportError unless pictures are float32, or ``levels`` of an int8 artifact."""
    if io not in ("float32", levels):
        raise ExportError(f"io {io}: pictures of 8 bits are {levels} in this format; take that")
    if io != "float32" and precision != "int8":
        raise ExportError(f"io {io} needs precision int8, not {precision}; leave io at float32")


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


INPUTS = ("rainy", "x", "h", "c")
OUTPUTS = ("x_next", "h_next", "c_next")


class StepGraph(nn.Module):
    """One stage of a :class:`GanLstm`.

    Shapes: ``rainy`` and ``x`` float32 (N, 3, H, W), RGB in [0, 1] at first; ``h`` and ``c``
    float32 (N, width, H / body_scale, W / body_scale), zeros at first. It returns the next ``x``,
    which is not clamped, because the stages of the whole network hand it on so, ``h`` and ``c``.
    """

    def __init__(self, network: GanLstm) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, rainy: Tensor, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        base = self.network.base_layer(rainy)
        x, hidden, cell = self.network.step(rainy, base, x, h, c)
        assert hidden is not None
        assert cell is not None
        return x, hidden, cell


class HalfStep(nn.Module):
    """A stage that computes in float16 between the float32 tensors of :class:`StepGraph`."""

    def __init__(self, step: StepGraph) -> None:
        super().__init__()
        self.step = step.half()

    def forward(
        self, rainy: Tensor, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, h, c = self.step(rainy.half(), x.half(), h.half(), c.half())
        return x.float(), h.float(), c.float()


def step_graph(checkpoint: Checkpoint) -> StepGraph:
    """Build the graph of one stage of a checkpoint, in float32.

    Raises:
        ExportError: the network has no stages or no states, or its arithmetic is int8.
        CheckpointError: weights that do not fit the config.
    """
    network = checkpoint.unquantized().build()
    if not isinstance(network, GanLstm) or not network.config.recurrent:
        raise ExportError(
            f"{checkpoint.name}: {checkpoint.architecture} hands no state from stage to stage; "
            "--step is for gan_lstm with recurrent: true, leave it out"
        )
    if checkpoint.precision == "int8":
        raise ExportError(
            f"{checkpoint.name}: is int8, whose scales differ from stage to stage; "
            "take --precision fp32 or fp16 for --step"
        )
    return StepGraph(network).eval()


def state_shape(checkpoint: Checkpoint, count: int, height: int, width: int) -> tuple[int, ...]:
    """Return the shape (N, C, H, W) of ``h`` and of ``c`` for pictures of a legal size."""
    step = describe_step(checkpoint)
    return count, step.state_width, height // step.state_scale, width // step.state_scale


def describe_step(checkpoint: Checkpoint) -> StageStep:
    """Return what a device has to know to run one stage of ``checkpoint``, a recurrent network."""
    config: GanLstmConfig = checkpoint.config
    return StageStep(
        stages=config.stages, state_width=config.width, state_scale=int(config.body_scale)
    )
