"""RESCAN: dilated convolutions with squeeze-and-excitation, recurrent over stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import check_bounds, check_widths
from core.networks.layers import (
    ChannelAttention,
    ConvGRUCell,
    ConvLSTMCell,
    ConvRNNCell,
    PictureLoss,
)

Unit = Literal["conv_rnn", "gru", "lstm"]
Prediction = Literal["additive", "full"]

_CELLS: dict[Unit, type[ConvRNNCell] | type[ConvGRUCell] | type[ConvLSTMCell]] = {
    "conv_rnn": ConvRNNCell,
    "gru": ConvGRUCell,
    "lstm": ConvLSTMCell,
}
_SLOPE = 0.2
"""Of the LeakyReLU below zero."""


@dataclass(frozen=True)
class RescanConfig:
    """Shape of a :class:`Rescan`; the defaults are the network that the paper puts forward.

    Squeeze-and-excitation pools over the whole picture, so tiles are not exact, whatever the halo.

    Attributes:
        width: channels of all layers.
        depth: layers of a stage, the 1x1 convolution at the end included. With 7 a stage looks at
            35 x 35 pixels, but for what it pools.
        stages: passes S over the picture; all stages share their weights.
        unit: what hands features from stage to stage in every dilated layer.
        prediction: ``full``, a stage predicts all of the rain in the rainy picture; ``additive``,
            the rain that is left in the result of the stage before.
        layer_widths: channels of each layer but the last; empty for ``width`` in all of them.
        squeeze_widths: channels inside the squeeze-and-excitation of each of these; empty for a
            quarter of those of the layer, at least 4. Pruning sets these last two.

    Raises:
        ConfigError: a value outside its range.
    """

    width: int = 24
    depth: int = 7
    stages: int = 4
    unit: Unit = "gru"
    prediction: Prediction = "full"
    layer_widths: tuple[int, ...] = ()
    squeeze_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, width=1, depth=3, stages=1)
        check_widths(self, layer_widths=self.depth - 1, squeeze_widths=self.depth - 1)

    @property
    def size_multiple(self) -> int:
        """Height and width of an input may be any."""
        return 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each layer but the last."""
        return self.layer_widths or (self.width,) * (self.depth - 1)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of the recurrent layers: those but the last two, such as (1, 1, 2, 4, 8)."""
        return (1, *(2**index for index in range(self.depth - 3)))


class State(NamedTuple):
    """What a recurrent layer hands to the next stage.

    Attributes:
        hidden: float (N, C, H, W), the features that the layer gave.
        cell: likewise, cell state of an LSTM; None for other units.
    """

    hidden: Tensor
    cell: Tensor | None = None


class ContextLayer(nn.Module):
    """A dilated recurrent unit, squeeze-and-excitation, LeakyReLU 0.2.

    Args:
        unit: as :attr:`RescanConfig.unit`.
        inputs: channels of x.
        width: channels of the result.
        dilation: of the 3x3 convolution over x; that over the hidden state is plain.
        squeezed: as that of :class:`core.networks.layers.ChannelAttention`.
    """

    def __init__(self, unit: Unit, inputs: int, width: int, dilation: int, squeezed: int) -> None:
        super().__init__()
        self.cell = _CELLS[unit](width, inputs, dilation)
        self.attention = ChannelAttention(width, squeezed)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """Advance by one stage.

        Args:
            x: float (N, inputs, H, W).
            state: of the stage before; None for the first.

        Returns:
            The new state, whose hidden part is also the output (N, width, H, W).
        """
        hidden, cell = (state.hidden, state.cell) if state else (None, None)
        if isinstance(self.cell, ConvLSTMCell):
            features, cell = self.cell(x, hidden, cell)
        else:
            features = self.cell(x, hidden)
        return State(F.leaky_relu(self.attention(features), _SLOPE), cell)


class Rescan(nn.Module):
    """RESCAN (Li et al., ECCV 2018, sections 3 and 4), unrolled over its stages.

    Stage s takes the result of stage s - 1, which is the rainy picture for the first, and subtracts
    the rain that it sees: recurrent layers with dilations 1, 1, 2, 4, ..., a plain 3x3 convolution,
    and a 1x1 convolution to colours. Squeeze-and-excitation and LeakyReLU follow every layer but
    the last. Layer j of a stage also takes what the same layer gave in the stage before.

    Where the paper is silent, the authors' published code decides: the activation follows the
    squeeze-and-excitation, the state is what comes after both, and 24 channels are squeezed to 6.
    The last layer starts at zero, so an untrained net returns its input.

    In training it asks for the loss of the run on the result of every stage (section 4.3), which
    is the paper's for the loss ``{l1: 0, mse: 1}``; see :class:`core.networks.layers.Auxiliary`.

    Shapes: ``rainy`` float (N, 3, H, W), RGB in [0, 1], of any size; the result has the same shape
    and is not clamped.
    """

    def __init__(self, config: RescanConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RescanConfig()
        *widths, last = config.widths
        *squeezed, last_squeezed = config.squeeze_widths or (0,) * len(config.widths)
        self.layers = nn.ModuleList(
            ContextLayer(config.unit, inputs, width, dilation, inner)
            for (inputs, width), dilation, inner in zip(
                pairwise([3, *widths]), config.dilations, squeezed, strict=True
            )
        )
        self.merge = nn.Conv2d(widths[-1], last, 3, padding=1)
        self.merge_attention = ChannelAttention(last, last_squeezed)
        self.exit = nn.Conv2d(last, 3, 1)
        for parameter in self.exit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, rainy: Tensor) -> Tensor:
        return self.stages(rainy)[-1]

    def stages(self, rainy: Tensor) -> list[Tensor]:
        """Return the results of all stages, the last of them being that of :meth:`forward`."""
        x, states = rainy, None
        results: list[Tensor] = []
        for _ in range(self.config.stages):
            rain, states = self.step(x, states)
            x = (rainy if self.config.prediction == "full" else x) - rain
            results.append(x)
        return results

    def step(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """Run one stage.

        Args:
            x: result of the stage before, float (N, 3, H, W); for the first stage the rainy
                picture.
            states: of all recurrent layers after the stage before; None for the first stage.

        Returns:
            The rain, float (N, 3, H, W), to subtract from what :attr:`RescanConfig.prediction`
            says, and the states.
        """
        before: list[State | None] = [*states] if states else [None] * len(self.layers)
        after: list[State] = []
        for layer, state in zip(self.layers, before, strict=True):
            after.append(layer(x, state))
            x = after[-1].hidden
        features = F.leaky_relu(self.merge_attention(self.merge(x)), _SLOPE)
        rain: Tensor = self.exit(features)
        return rain, after

    def forward_auxiliary(self, rainy: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Derain, and keep ``stages``, the results of all stages but the last.

        ``stages`` is float (N, S - 1, 3, H, W), and left out where there is one stage.
        """
        *earlier, derained = self.stages(rainy)
        return derained, {"stages": torch.stack(earlier, dim=1)} if earlier else {}

    def auxiliary_losses(
        self, outputs: Mapping[str, Tensor], rainy: Tensor, clean: Tensor, loss: PictureLoss
    ) -> dict[str, Tensor]:
        """Add up the losses of the stages before the last; see :mod:`core.networks.layers`."""
        if "stages" not in outputs:
            return {}
        losses = [loss(stage, clean) for stage in outputs["stages"].unbind(1)]
        return {"stages": torch.stack(losses).sum()}
