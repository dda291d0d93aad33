"""RESCAN: dilated convolutions with squeeze-and-excitation, recurrent over stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import check_bounds, check_widths
from core.networks.layers import ChannelAttention, PictureLoss

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
        layer_widths: channels of each layer but the last; empty for ``width`` in all of them.
        squeeze_widths: channels inside the squeeze-and-excitation of each of these; empty for a
            quarter of those of the layer, at least 4. Pruning sets these last two.

    Raises:
        ConfigError: a value outside its range.
    """

    width: int = 24
    depth: int = 7
    stages: int = 4
    layer_widths: tuple[int, ...] = ()
    squeeze_widths: tuple[int, ...] = ()

    RETIRED: ClassVar = {"unit": "gru", "prediction": "full"}

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


class ConvGRUCell(nn.Module):
    """Convolutional gated recurrent unit (Ballas et al., ICLR 2016, eq. 9 to 12), 3x3 kernels.

    With gates ``z, r = sigmoid(conv(x) + conv(h))`` and ``n = tanh(conv(x) + conv(r h))`` it is
    ``h' = (1 - z) h + z n``. The first stage, where h is zero, leaves terms out, as
    :class:`core.networks.layers.ConvLSTMCell` does.

    Attributes:
        from_input: x to z, r, n, in this order along the channels; dilated.
        from_hidden: h to z and r; the biases are in ``from_input``.
        from_reset: r h to n.
    """

    def __init__(self, width: int, inputs: int, dilation: int) -> None:
        super().__init__()
        self.from_input = nn.Conv2d(inputs, 3 * width, 3, padding=dilation, dilation=dilation)
        self.from_hidden = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.from_reset = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Return h' (N, width, H, W) from x (N, inputs, H, W) and h; None stands for zeros."""
        z, r, n = self.from_input(x).chunk(3, dim=1)
        if hidden is None:
            return torch.sigmoid(z) * torch.tanh(n)
        hidden_z, hidden_r = self.from_hidden(hidden).chunk(2, dim=1)
        z, r = torch.sigmoid(z + hidden_z), torch.sigmoid(r + hidden_r)
        n = torch.tanh(n + self.from_reset(r * hidden))
        return hidden + z * (n - hidden)


class ContextLayer(nn.Module):
    """A dilated :class:`ConvGRUCell`, squeeze-and-excitation, LeakyReLU 0.2.

    What it returns is also the hidden state that it takes in the next stage.
    """

    def __init__(self, inputs: int, width: int, dilation: int, squeezed: int) -> None:
        super().__init__()
        self.cell = ConvGRUCell(width, inputs, dilation)
        self.attention = ChannelAttention(width, squeezed)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        return F.leaky_relu(self.attention(self.cell(x, hidden)), _SLOPE)


class Rescan(nn.Module):
    """RESCAN (Li et al., ECCV 2018, sections 3 and 4), unrolled over its stages.

    Stage s takes the result of stage s - 1, which is the rainy picture for the first, and predicts
    all of the rain in the rainy picture, by gated recurrent layers with dilations 1, 1, 2, 4, ...,
    a plain 3x3 convolution, and a 1x1 convolution to colours. Squeeze-and-excitation and LeakyReLU
    follow every layer but the last. Layer j of a stage also takes what the same layer gave in the
    stage before.

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
            ContextLayer(inputs, width, dilation, inner)
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
            x = rainy - rain
            results.append(x)
        return results

    def step(self, x: Tensor, states: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Run one stage.

        Args:
            x: result of the stage before, float (N, 3, H, W); for the first stage the rainy
                picture.
            states: features of all recurrent layers in the stage before, float (N, C, H, W); None
                for the first stage.

        Returns:
            The rain to subtract from the rainy picture, float (N, 3, H, W), and the states.
        """
        after: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            x = layer(x, states[index] if states else None)
            after.append(x)
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
