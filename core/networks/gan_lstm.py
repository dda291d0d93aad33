"""GAN-LSTM: a recurrent generator that removes rain stage by stage, and its discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from core.errors import ConfigError, check_bounds, check_widths
from core.networks.layers import Attention, AttentionBlock, ConvLSTMCell, guided_filter

BodyScale = Literal[1, 2, 4]


@dataclass(frozen=True)
class GanLstmConfig:
    """Shape of a :class:`GanLstm`; the defaults are the network of the paper.

    Without attention and base layer, and with ``residual_output``, it is PReNet (Ren et al., CVPR
    2019); also without ``recurrent`` it is PRN, and with ``share_blocks`` PReNet_r or PRN_r.

    Attributes:
        width: channels of the features and of the states.
        stages: passes T over the picture; all stages share their weights.
        blocks: residual blocks of a stage.
        attention: in every block. ``channel`` pools over the whole picture, so that tiles are not
            exact; ``spatial`` is local; ``none`` leaves it out.
        residual_output: a stage predicts what to add to the rainy picture, not the picture itself.
        body_scale: ConvLSTM and blocks work at one over this many of the input's size.
        body_depth: the chain of blocks goes down this many halvings of that and up again, twice as
            wide on each, with a skip connection across; 0 stays on one scale, as in the paper.
        base_layer: the base layer of the rainy picture enters every stage.
        radius: of the guided filter that makes the base layer, in pixels.
        eps: of the guided filter, in squared units of pixels in [0, 1]. Both defaults are those of
            the deep detail network (Fu et al., CVPR 2017).
        recurrent: a ConvLSTM hands features from stage to stage.
        share_blocks: one block is applied ``blocks`` times.
        entry_width: channels of ``f_in``, for a recurrent net; 0 for ``width``.
        coarse_widths: channels of each halving; empty doubles them on each.
        inner_widths: channels inside each block, between its two convolutions (one number with
            ``share_blocks``); empty for those of the block.
        squeeze_widths: channels inside the channel attention of each block, likewise; empty for a
            quarter of those of the block, at least 4. Pruning sets these last four.

    Raises:
        ConfigError: a value outside its range.
    """

    width: int = 32
    stages: int = 6
    blocks: int = 5
    attention: Attention = "channel"
    residual_output: bool = False
    body_scale: BodyScale = 1
    body_depth: int = 0
    base_layer: bool = True
    radius: int = 15
    eps: float = 1.0
    recurrent: bool = True
    share_blocks: bool = False
    entry_width: int = 0
    coarse_widths: tuple[int, ...] = ()
    inner_widths: tuple[int, ...] = ()
    squeeze_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, width=1, stages=1, blocks=1, radius=1, body_depth=0)
        if self.blocks < 2 * self.body_depth + 1:
            raise ConfigError(
                f"blocks {self.blocks} cannot go {self.body_depth} halvings down and up again; "
                f"take {2 * self.body_depth + 1} or a smaller body_depth"
            )
        if self.body_depth and self.share_blocks:
            raise ConfigError(
                f"share_blocks needs blocks of one width; take body_depth 0, not {self.body_depth}"
            )
        if not self.eps > 0:
            raise ConfigError(f"eps {self.eps} must be above 0, such as 0.01")
        if self.entry_width < 0 or (self.entry_width and not self.recurrent):
            raise ConfigError(
                f"entry_width {self.entry_width} must be 0 or more, and 0 without recurrent"
            )
        modules = len(self.module_levels)
        check_widths(
            self, coarse_widths=self.body_depth, inner_widths=modules, squeeze_widths=modules
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this many pixels."""
        return int(self.body_scale * 2**self.body_depth)

    @property
    def block_levels(self) -> tuple[int, ...]:
        """Halvings below ``body_scale`` at which each block works, such as (0, 1, 2, 1, 0)."""
        down = range(self.body_depth)
        bottom = self.blocks - 2 * self.body_depth
        return (*down, *[self.body_depth] * bottom, *reversed(down))

    @property
    def module_levels(self) -> tuple[int, ...]:
        """Those of the blocks that have weights of their own: one with ``share_blocks``."""
        return self.block_levels[:1] if self.share_blocks else self.block_levels

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels at ``body_scale`` and at each halving below it."""
        doubled = tuple(self.width * 2 ** (level + 1) for level in range(self.body_depth))
        return (self.width, *(self.coarse_widths or doubled))


class GanLstm(nn.Module):
    """Generator of GAN-LSTM (Dong Wang and Zhongsheng Wang, eq. 3 to 5), unrolled over its stages.

    Stage t takes the result of stage t - 1, which is the rainy picture for the first:
    ``f_in``, convolution and ReLU over rainy picture, result and base layer; ConvLSTM; residual
    blocks with attention; ``f_out``, convolution without activation.

    For a ``body_scale`` s above 1 the kernel of ``f_in`` is 3s wide with stride s, the same
    function as a pixel-unshuffle followed by a 3x3 convolution, and ``f_out`` is the transposed
    convolution of the same shape, a 3x3 convolution followed by a pixel-shuffle. With
    ``residual_output`` the last layer starts at zero, so an untrained net returns its input.

    Shapes: ``rainy`` float (N, 3, H, W), RGB in [0, 1], H and W multiples of
    ``config.size_multiple``; the result has the same shape and is not clamped.
    """

    def __init__(self, config: GanLstmConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GanLstmConfig()
        width, scale = config.width, int(config.body_scale)
        pictures = 3 if config.base_layer else 2
        entry, levels = config.entry_width or width, config.module_levels
        self.entry = nn.Conv2d(3 * pictures, entry, 3 * scale, stride=scale, padding=scale)
        self.cell = ConvLSTMCell(width, entry) if config.recurrent else None
        own = (0,) * len(levels)
        self.body = nn.ModuleList(
            AttentionBlock(config.level_widths[level], config.attention, inner, squeezed)
            for level, inner, squeezed in zip(
                levels, config.inner_widths or own, config.squeeze_widths or own, strict=True
            )
        )
        steps = list(pairwise(config.level_widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps
        )
        self.exit = (
            nn.Conv2d(width, 3, 3, padding=1)
            if scale == 1
            else nn.ConvTranspose2d(width, 3, 3 * scale, stride=scale, padding=scale)
        )
        if config.residual_output:
            nn.init.zeros_(self.exit.weight)
            assert self.exit.bias is not None
            nn.init.zeros_(self.exit.bias)

    def forward(self, rainy: Tensor) -> Tensor:
        return self.stages(rainy)[-1]

    def stages(self, rainy: Tensor) -> list[Tensor]:
        """Return the results of all stages, the last of them being that of :meth:`forward`.

        For deep supervision: a loss on every stage. Shapes as those of ``rainy``.
        """
        base = self.base_layer(rainy)
        x, hidden, cell = rainy, None, None
        results: list[Tensor] = []
        for _ in range(self.config.stages):
            x, hidden, cell = self.step(rainy, base, x, hidden, cell)
            results.append(x)
        return results

    def base_layer(self, rainy: Tensor) -> Tensor | None:
        """Return the base layer that :meth:`step` needs, None where the config leaves it out."""
        if not self.config.base_layer:
            return None
        return guided_filter(rainy, self.config.radius, self.config.eps)

    def step(
        self,
        rainy: Tensor,
        base: Tensor | None,
        x: Tensor,
        hidden: Tensor | None = None,
        cell: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Run one stage.

        Args:
            rainy: float (N, 3, H, W), RGB in [0, 1].
            base: its base layer, from :meth:`base_layer`.
            x: result of the stage before, like ``rainy``; for the first stage ``rainy`` itself.
            hidden: hidden state of the stage before, float (N, width, H / body_scale,
                W / body_scale); None for the first stage.
            cell: cell state of the stage before, likewise.

        Returns:
            Result, hidden state and cell state; the states are None in a net that is not
            recurrent.
        """
        pictures = [rainy, x] if base is None else [rainy, x, base]
        features = torch.relu(self.entry(torch.cat(pictures, dim=1)))
        if self.cell is not None:
            features, cell = self.cell(features, hidden, cell)
            hidden = features
        x = self.exit(self.through_body(features))
        return rainy + x if self.config.residual_output else x, hidden, cell

    def through_body(self, features: Tensor) -> Tensor:
        """Run the blocks, down and up again; float (N, width, H, W) at ``body_scale``, and back."""
        skips: list[Tensor] = []
        for index, level in enumerate(self.config.block_levels):
            if level > len(skips):
                skips.append(features)
                features = torch.relu(self.down[level - 1](features))
            elif level < len(skips):
                features = torch.relu(self.up[level](features) + skips.pop())
            features = self.body[0 if self.config.share_blocks else index](features)
        return features


class Discriminator(nn.Module):
    """Patch discriminator: one score for each place, how real the picture looks around it.

    Stride-2 convolutions (4x4, LeakyReLU 0.2) whose width doubles up to eight times the first,
    then a 3x3 convolution to one channel (Isola et al., CVPR 2017). Scores are real numbers
    without a sigmoid, as the relativistic losses in :mod:`core.training.losses` take them.

    Shapes: ``picture`` float (N, 3, H, W), RGB in [0, 1], H and W at least ``2**depth``; the
    result is float (N, 1, H // 2**depth, W // 2**depth).

    Args:
        width: channels of the first convolution.
        depth: number of stride-2 convolutions.
        spectral: bound the Lipschitz constant of every layer (Miyato et al., ICLR 2018).
    """

    def __init__(self, width: int = 64, depth: int = 4, spectral: bool = True) -> None:
        super().__init__()
        widths = [3, *(width * 2 ** min(level, 3) for level in range(depth))]
        convolutions = [
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(widths)
        ]
        convolutions.append(nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.convolutions = nn.ModuleList(
            spectral_norm(convolution) if spectral else convolution for convolution in convolutions
        )

    def forward(self, picture: Tensor) -> Tensor:
        x: Tensor = self.convolutions[0](picture)
        for convolution in self.convolutions[1:]:
            x = convolution(F.leaky_relu(x, 0.2))
        return x
