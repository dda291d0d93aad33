"""DeconvNet: convolutions with average pooling down, transposed convolutions up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ConfigError, check_widths


@dataclass(frozen=True)
class DeconvConfig:
    """Shape of a :class:`DeconvNet`; the defaults are the network of the paper.

    Attributes:
        widths: channels of each convolution; level ``i`` works at ``1 / 2**i`` of the input size.
        residual_output: predict what to add to the rainy picture, not the picture itself.
        up_widths: channels of each transposed convolution but the last, coarsest first; empty for
            those of the convolutions on the same level, as in the paper.

    Raises:
        ConfigError: no widths, one below 1, or another number of ``up_widths``.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    residual_output: bool = False
    up_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.widths, default=0) < 1:
            raise ConfigError(
                f"widths {list(self.widths)} must be one or more numbers of at least 1, "
                "such as [64, 128, 256, 512]"
            )
        check_widths(self, up_widths=len(self.widths) - 1)

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this many pixels."""
        return int(2 ** (len(self.widths) - 1))


class DeconvNet(nn.Module):
    """The deconvolution network of Kushal P, Adwait Bauskar and Niranjan Jayaraman, section IV.

    Four convolutions (64, 128, 256, 512) with 2x2 average pooling after each but the last, then
    four transposed convolutions (512, 256, 128, 3) with 2x2 unpooling before each but the first.
    All kernels are 2x2; a ReLU follows every layer but the last.

    Two points that the paper leaves open are settled here. It prints three poolings but two
    unpoolings, with which the result would be half as large as the input: the third unpooling is
    added before the last layer. And where even kernels need one more row and column, the
    convolutions take zeros at the bottom and right, and the transposed ones drop what they write
    there: Keras' ``same`` padding, in which the two shifts cancel.

    Average pooling keeps no positions, so unpooling repeats each value. With ``residual_output``
    the last layer starts at zero, so an untrained net returns its input.

    Shapes: ``rainy`` float (N, 3, H, W), RGB in [0, 1], H and W multiples of
    ``config.size_multiple``; the result has the same shape and is not clamped.
    """

    def __init__(self, config: DeconvConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DeconvConfig()
        down = [3, *config.widths]
        up = [down[-1], *(config.up_widths or reversed(down[2:])), 3]
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2) for fine, coarse in pairwise(down))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2) for coarse, fine in pairwise(up)
        )
        if config.residual_output:
            for parameter in self.up[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, rainy: Tensor) -> Tensor:
        x = rainy
        for level, convolution in enumerate(self.down):
            if level:
                x = F.avg_pool2d(x, 2)
            x = torch.relu(convolution(F.pad(x, (0, 1, 0, 1))))
        for level, transposed in enumerate(self.up):
            if level:
                x = F.interpolate(torch.relu(x), scale_factor=2.0, mode="nearest")
            x = transposed(x)[:, :, :-1, :-1]
        return rainy + x if self.config.residual_output else x
