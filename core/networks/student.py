"""StudentNet: a small residual UNet made only of operations that every edge engine runs fast."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from core.errors import ConfigError


@dataclass(frozen=True)
class StudentConfig:
    """Shape of a :class:`StudentNet`; level ``i`` works at ``1 / 2**(i + 1)`` of the input size.

    Attributes:
        widths: channels of each level, multiples of 8, finest first.
        encoder_blocks: residual blocks of each level on the way down; the last is the bottom.
        decoder_blocks: residual blocks of each level but the last on the way up.
        encoder_inner: channels inside each of the encoder blocks, between their two convolutions,
            one list a level; empty for the width of the level, as before pruning.
        decoder_inner: likewise for the decoder blocks.

    Raises:
        ConfigError: lengths that do not match, or a width that is not a multiple of 8.
    """

    widths: tuple[int, ...] = (16, 32, 48)
    encoder_blocks: tuple[int, ...] = (1, 1, 2)
    decoder_blocks: tuple[int, ...] = (1, 1)
    encoder_inner: tuple[tuple[int, ...], ...] = ()
    decoder_inner: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        levels = len(self.widths)
        if levels < 1:
            raise ConfigError("widths is empty; give at least one level, such as [16, 32, 48]")
        for name, found, wanted in (
            ("encoder_blocks", self.encoder_blocks, levels),
            ("decoder_blocks", self.decoder_blocks, levels - 1),
        ):
            if len(found) != wanted:
                raise ConfigError(
                    f"{name} has {len(found)} entries, {list(found)}, "
                    f"but {levels} widths need {wanted}"
                )
            if min(found, default=0) < 0:
                raise ConfigError(f"{name} {list(found)} has a negative number; use 0 or more")
        _check_inner("encoder", self.encoder_inner, self.encoder_blocks)
        _check_inner("decoder", self.decoder_inner, self.decoder_blocks)
        _check_widths("widths", self.widths)

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this many pixels."""
        return int(2 ** len(self.widths))


def _check_inner(side: str, inner: tuple[tuple[int, ...], ...], blocks: tuple[int, ...]) -> None:
    if inner and tuple(map(len, inner)) != blocks:
        raise ConfigError(
            f"{side}_inner {[list(level) for level in inner]} must hold one number for each of "
            f"the {side}_blocks {list(blocks)}, or be left out"
        )
    for level in inner:
        _check_widths(f"{side}_inner", level)


def _check_widths(name: str, widths: tuple[int, ...]) -> None:
    wrong = [width for width in widths if width < 8 or width % 8]
    if wrong:
        raise ConfigError(f"{name} {wrong} are not positive multiples of 8")


class _ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3x3 kernels, as in EDSR (Lim et al., CVPRW 2017)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(torch.relu(self.first(x)))
        return x + change


def _levels(
    widths: tuple[int, ...], counts: tuple[int, ...], inner: tuple[tuple[int, ...], ...]
) -> nn.ModuleList:
    inner = inner or tuple((width,) * n for width, n in zip(widths, counts, strict=True))
    return nn.ModuleList(
        nn.Sequential(*(_ResidualBlock(width, channels) for channels in level))
        for width, level in zip(widths, inner, strict=True)
    )


class StudentNet(nn.Module):
    """Residual UNet that predicts what to add to the rainy picture.

    A 6x6 stride-2 convolution enters (the same function as a 2x pixel-unshuffle followed by a
    3x3 convolution, without the shuffle that converters and pruning stumble over), 2x2 stride-2
    convolutions go down, 2x2 stride-2 transposed convolutions go up, skips are added. The last
    layer starts at zero, so an untrained net returns its input.

    Shapes: ``rainy`` float (N, 3, H, W), RGB in [0, 1], H and W multiples of
    ``config.size_multiple``; the result has the same shape and is not clamped.
    """

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StudentConfig()
        widths = config.widths
        self.entry = nn.Conv2d(3, widths[0], 6, stride=2, padding=2)
        self.encoder = _levels(widths, config.encoder_blocks, config.encoder_inner)
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps
        )
        self.decoder = _levels(widths[:-1], config.decoder_blocks, config.decoder_inner)
        self.exit = nn.ConvTranspose2d(widths[0], 3, 2, stride=2)
        for parameter in self.exit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, rainy: Tensor) -> Tensor:
        x = torch.relu(self.entry(rainy))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            if level:
                x = torch.relu(self.down[level - 1](x))
            x = blocks(x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = torch.relu(self.up[level](x) + skips[level])
            x = self.decoder[level](x)
        change: Tensor = self.exit(x)
        return rainy + change
