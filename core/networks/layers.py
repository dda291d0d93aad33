"""Parts that networks share: cells, attention, shuffle, guided filter, losses of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Attention = Literal["none", "channel", "spatial"]


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM (Shi et al. 2015) without peepholes, as in PReNet (Ren et al. 2019).

    With gates ``i, f, o = sigmoid(.)`` and ``g = tanh(.)`` of a 3x3 convolution over x and h:
    ``c' = f c + i g`` and ``h' = o tanh(c')``.

    A convolution of ``concat(x, h)`` is the sum of one of x and one of h, and is computed as such:
    the first stage, where h and c are zero, leaves terms out instead of needing tensors of zeros,
    which exporters would bake in at a fixed size.

    Args:
        width: channels of the states.
        inputs: channels of x; 0 for ``width``.
        dilation: of the convolution over x; that over h is plain.

    Attributes:
        from_input: x to the gates i, f, o, g, in this order along the channels.
        from_hidden: h to the same gates; the bias is in ``from_input``.
    """

    def __init__(self, width: int, inputs: int = 0, dilation: int = 1) -> None:
        super().__init__()
        self.from_input = _dilated(inputs or width, 4 * width, dilation)
        self.from_hidden = nn.Conv2d(width, 4 * width, 3, padding=1, bias=False)

    def forward(
        self, x: Tensor, hidden: Tensor | None = None, cell: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance by one stage.

        Args:
            x: float (N, inputs, H, W).
            hidden: hidden state h of the stage before, float (N, width, H, W); None stands for
                zeros.
            cell: cell state c of the stage before, likewise.

        Returns:
            hidden: float (N, width, H, W) within (-1, 1), which is also the output.
            cell: float (N, width, H, W).
        """
        gates = self.from_input(x)
        if hidden is not None:
            gates = gates + self.from_hidden(hidden)
        i, f, o, g = gates.chunk(4, dim=1)
        written = torch.sigmoid(i) * torch.tanh(g)
        cell = written if cell is None else torch.sigmoid(f) * cell + written
        return torch.sigmoid(o) * torch.tanh(cell), cell


class ConvRNNCell(nn.Module):
    """Convolutional Elman network: ``h' = tanh(conv(x) + conv(h))`` with 3x3 kernels.

    Args and computation of the first stage as for :class:`ConvLSTMCell`.

    Attributes:
        from_input: x to the sum.
        from_hidden: h to the same; the bias is in ``from_input``.
    """

    def __init__(self, width: int, inputs: int = 0, dilation: int = 1) -> None:
        super().__init__()
        self.from_input = _dilated(inputs or width, width, dilation)
        self.from_hidden = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Advance by one stage; arguments and result as the hidden ones of ConvLSTMCell."""
        total = self.from_input(x)
        return torch.tanh(total if hidden is None else total + self.from_hidden(hidden))


class ConvGRUCell(nn.Module):
    """Convolutional gated recurrent unit (Ballas et al., ICLR 2016, eq. 9 to 12), 3x3 kernels.

    With gates ``z, r = sigmoid(conv(x) + conv(h))`` and ``n = tanh(conv(x) + conv(r h))`` it is
    ``h' = (1 - z) h + z n``. Args and computation of the first stage as for :class:`ConvLSTMCell`.

    Attributes:
        from_input: x to z, r, n, in this order along the channels.
        from_hidden: h to z and r; the biases are in ``from_input``.
        from_reset: r h to n.
    """

    def __init__(self, width: int, inputs: int = 0, dilation: int = 1) -> None:
        super().__init__()
        self.from_input = _dilated(inputs or width, 3 * width, dilation)
        self.from_hidden = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.from_reset = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Advance by one stage; arguments and result as the hidden ones of ConvLSTMCell."""
        z, r, n = self.from_input(x).chunk(3, dim=1)
        if hidden is None:
            return torch.sigmoid(z) * torch.tanh(n)
        hidden_z, hidden_r = self.from_hidden(hidden).chunk(2, dim=1)
        z, r = torch.sigmoid(z + hidden_z), torch.sigmoid(r + hidden_r)
        n = torch.tanh(n + self.from_reset(r * hidden))
        return hidden + z * (n - hidden)


def _dilated(inputs: int, outputs: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)


class AttentionBlock(nn.Module):
    """``relu(attention(relu(conv(relu(conv(x))))) + x)`` with 3x3 kernels.

    Without attention it is the residual block of PReNet (Ren et al. 2019).

    Args:
        width: channels in and out.
        attention: ``channel`` for :class:`ChannelAttention`, ``spatial`` for
            :class:`SpatialAttention`, ``none`` for the identity.
        inner: channels between the convolutions; 0 for ``width``.
        squeezed: as that of :class:`ChannelAttention`.
    """

    def __init__(
        self, width: int, attention: Attention = "none", inner: int = 0, squeezed: int = 0
    ) -> None:
        super().__init__()
        inner = inner or width
        self.first = nn.Conv2d(width, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, width, 3, padding=1)
        self.attention: nn.Module = nn.Identity()
        if attention == "channel":
            self.attention = ChannelAttention(width, squeezed)
        elif attention == "spatial":
            self.attention = SpatialAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.second(torch.relu(self.first(x))))
        return torch.relu(self.attention(features) + x)


class ChannelAttention(nn.Module):
    """Weigh channels by their means over the picture: squeeze and excitation (Hu et al. 2018).

    Every output pixel depends on the whole picture, so results on tiles differ from those on the
    whole picture, whatever the halo: the receptive field is unbounded.

    Args:
        width: channels.
        squeezed: channels inside; 0 for a quarter of ``width``, 4 or more.
    """

    def __init__(self, width: int, squeezed: int = 0) -> None:
        super().__init__()
        squeezed = squeezed or max(4, width // 4)
        self.squeeze = nn.Conv2d(width, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))


class SpatialAttention(nn.Module):
    """Weigh places by a map in (0, 1) that a 3x3 convolution draws of all channels.

    It is local, one more pixel to each side, so tiles that overlap by the halo stay exact.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.weigh(x))


class ShuffledConv2d(nn.Conv2d):
    """A convolution whose channels are dealt out over blocks of pixels (Shi et al., CVPR 2016).

    To the rest of the house it is one layer, quantized and exported as such: ``out_channels`` are
    those of the convolution, ``scale**2`` of them in turn for each channel of the result.

    Args:
        inputs: channels in.
        outputs: channels of the result.
        scale: side of a block; the result is so many times as high and wide.
        kernel: odd side of the kernel.
    """

    def __init__(self, inputs: int, outputs: int, scale: int, kernel: int = 1) -> None:
        super().__init__(inputs, outputs * scale**2, kernel, padding=kernel // 2)
        self.scale = scale

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.pixel_shuffle(super()._conv_forward(input, weight, bias), self.scale)


def guided_filter(picture: Tensor, radius: int, eps: float) -> Tensor:
    """Smooth every channel with itself as the guide, keeping strong edges (He et al. 2013).

    In each window of ``2 radius + 1`` pixels a side, clipped at the border, the result is the line
    ``a I + b`` with ``a = var / (var + eps)`` and ``b = (1 - a) mean`` (eq. 5 and 6 with p = I);
    the lines of all windows around a pixel are averaged (eq. 8). Variation well below
    ``sqrt(eps)`` is smoothed away, variation well above it stays. One pixel depends on those up to
    ``2 radius`` away. Differentiable, and made of operations that every engine has.

    Args:
        picture: float (N, C, H, W); float32 or wider, for squares are subtracted.
        radius: half the side of a window in pixels, at least 1.
        eps: above 0, in squared units of ``picture``.

    Returns:
        float (N, C, H, W).
    """
    mean = _box_mean(picture, radius)
    variance = _box_mean(picture * picture, radius) - mean * mean
    slope = variance / (variance + eps)
    offset = (1 - slope) * mean
    return _box_mean(slope, radius) * picture + _box_mean(offset, radius)


def _box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over the pixels of a square window that are inside; rows, then columns, is cheaper."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(x, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)


PictureLoss = Callable[[Tensor, Tensor], Tensor]
"""Loss of a picture against the clean one, both float (N, 3, H, W), in the terms of the run."""


@runtime_checkable
class Auxiliary(Protocol):
    """A network with these two methods has its own losses added to those of any objective.

    Training calls :meth:`forward_auxiliary` in place of ``forward``, which still returns the
    derained picture alone, and which everything outside training calls.
    """

    def forward_auxiliary(self, rainy: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Derain, and keep what else there is to learn from.

        Args:
            rainy: float (N, 3, H, W), RGB in [0, 1].

        Returns:
            What ``forward`` returns, and further tensors by name, each with N in front.
        """
        ...

    def auxiliary_losses(
        self, outputs: Mapping[str, Tensor], rainy: Tensor, clean: Tensor, loss: PictureLoss
    ) -> dict[str, Tensor]:
        """Compute the losses on those tensors, in float32.

        Args:
            outputs: the tensors by name, float32, of the samples that have a clean picture.
            rainy: float32 (N, 3, H, W) in [0, 1], of the same samples.
            clean: likewise.
            loss: what the run takes of its result, for pictures among the tensors.

        Returns:
            Float scalars by name, means over the samples, with their weights: they are added up.
            The names are for the log, and none of them is that of a term of an objective.
        """
        ...
