"""StudentNet: a small residual UNet made of what every edge engine runs fast, in integers too."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from core.errors import ConfigError
from core.networks.layers import ShuffledConv2d


@dataclass(frozen=True)
class StudentConfig:
    """Shape of a :class:`StudentNet`; level ``i`` works at ``1 / (stride * 2**i)`` of the size.

    What ``stride`` and the fields after it default to is the family of the first release, whose
    cards and checkpoints do not name them.

    Attributes:
        widths: channels of each level, multiples of 8, finest first.
        encoder_blocks: residual blocks of each level on the way down; the last is the bottom.
        decoder_blocks: residual blocks of each level but the last on the way up.
        encoder_inner: channels inside each of the encoder blocks, between their two convolutions,
            one list a level; empty for the width of the level, as before pruning.
        decoder_inner: likewise for the decoder blocks.
        stride: of the entry and of the exit, 2 or 4.
        kernel: of the entry, ``stride`` and an even number more, so that it overlaps by half of
            that on each side.
        up: ``shuffle`` goes up, and out, by a convolution and a pixel shuffle, which integer
            kernels are made for; ``transposed`` by a transposed convolution.
        exit_kernel: of the exit's convolution, 1 or 3; a transposed one is like 1.
        closed: a ReLU closes each residual block, so that what is stored is never negative.

    Raises:
        ConfigError: lengths that do not match, a width that is not a multiple of 8, or values that
            do not go together.
    """

    widths: tuple[int, ...] = (16, 32, 48)
    encoder_blocks: tuple[int, ...] = (1, 1, 2)
    decoder_blocks: tuple[int, ...] = (1, 1)
    encoder_inner: tuple[tuple[int, ...], ...] = ()
    decoder_inner: tuple[tuple[int, ...], ...] = ()
    stride: int = 2
    kernel: int = 6
    up: Literal["transposed", "shuffle"] = "transposed"
    exit_kernel: int = 1
    closed: bool = False

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
        if self.stride not in (2, 4):
            raise ConfigError(f"stride {self.stride} must be 2 or 4")
        if self.kernel < self.stride or (self.kernel - self.stride) % 2:
            raise ConfigError(
                f"kernel {self.kernel} must be stride {self.stride} and an even number more, such "
                f"as {2 * self.stride}"
            )
        if self.exit_kernel not in (1, 3):
            raise ConfigError(f"exit_kernel {self.exit_kernel} must be 1 or 3")
        if self.exit_kernel == 3 and self.up == "transposed":
            raise ConfigError("exit_kernel 3 needs up: shuffle; a transposed exit is like 1")

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this many pixels."""
        return int(self.stride * 2 ** (len(self.widths) - 1))


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
    """``x + conv(relu(conv(x)))`` with 3x3 kernels, as in EDSR (Lim et al., CVPRW 2017).

    ``closed`` takes the ReLU of the sum, as in ResNet (He et al., CVPR 2016).
    """

    def __init__(self, width: int, inner: int, closed: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, width, 3, padding=1)
        self.closed = closed

    def forward(self, x: Tensor) -> Tensor:
        total = x + self.second(torch.relu(self.first(x)))
        return torch.relu(total) if self.closed else total


def _levels(
    config: StudentConfig, counts: tuple[int, ...], inner: tuple[tuple[int, ...], ...]
) -> nn.ModuleList:
    inner = inner or tuple((width,) * n for width, n in zip(config.widths, counts, strict=False))
    return nn.ModuleList(
        nn.Sequential(*(_ResidualBlock(width, channels, config.closed) for channels in level))
        for width, level in zip(config.widths, inner, strict=False)
    )


class StudentNet(nn.Module):
    """Residual UNet that predicts what to add to the rainy picture.

    A strided convolution whose kernel overlaps enters (the same function as a pixel-unshuffle
    followed by a smaller convolution, without the shuffle that converters and pruning stumble
    over), 2x2 stride-2 convolutions go down, 1x1 convolutions with a pixel shuffle go up (Shi et
    al., CVPR 2016), skips are added. The last layer starts at zero, so an untrained net returns
    its input.

    Shapes: ``rainy`` float (N, 3, H, W), RGB in [0, 1], H and W multiples of
    ``config.size_multiple``; the result has the same shape and is not clamped.
    """

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StudentConfig()
        widths, stride = config.widths, config.stride
        margin = (config.kernel - stride) // 2
        self.entry = nn.Conv2d(3, widths[0], config.kernel, stride=stride, padding=margin)
        self.encoder = _levels(config, config.encoder_blocks, config.encoder_inner)
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(self._upward(coarse, fine, 2) for fine, coarse in steps)
        self.decoder = _levels(config, config.decoder_blocks, config.decoder_inner)
        self.exit = self._upward(widths[0], 3, stride, config.exit_kernel)
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

    def _upward(self, inputs: int, outputs: int, scale: int, kernel: int = 1) -> nn.Module:
        if self.config.up == "transposed":
            return nn.ConvTranspose2d(inputs, outputs, scale, stride=scale)
        return ShuffledConv2d(inputs, outputs, scale, kernel)
