"""Growth of a small trained student into a larger one that computes the same function."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from core.checkpoint import Checkpoint
from core.networks.student import StudentConfig, StudentNet

_SPREAD = 0.25
"""Standard deviation of the shares by which the copies of a channel divide what follows them."""


def grow(checkpoint: Checkpoint, config: StudentConfig, seed: int = 0) -> Checkpoint:
    """Widen and deepen a student without changing what it computes.

    Net2Net (Chen, Goodfellow and Shlens, ICLR 2016, arXiv:1511.05641): new channels are copies of
    old ones, and the weights that read a channel are divided among its copies. The shares are
    drawn anew for every weight, so that copies receive different gradients and part. New residual
    blocks have a last convolution of zeros.

    Args:
        checkpoint: a :class:`StudentNet` in float32.
        config: what it becomes: as many levels, each at least as wide, with as many blocks or
            more, each at least as wide inside.
        seed: of the copies and shares.

    Returns:
        The grown checkpoint, its recipe one line longer.

    Raises:
        ValueError: a part of ``config`` is smaller than it is in ``checkpoint``, or the number of
            levels differs.
    """
    small: StudentConfig = checkpoint.config
    _check_growth(small, config)
    generator = torch.Generator().manual_seed(seed)
    growth = _Growth(checkpoint.weights, small, config, generator)
    line = f"grow: widths {list(small.widths)} to {list(config.widths)}, seed {seed}"
    return dataclasses.replace(
        checkpoint, config=config, weights=growth.run(), recipe=(*checkpoint.recipe, line)
    )


class _Growth:
    def __init__(
        self,
        weights: dict[str, Tensor],
        small: StudentConfig,
        large: StudentConfig,
        generator: torch.Generator,
    ) -> None:
        self._old, self._generator = weights, generator
        self._small, self._large = small, large
        # Module by module, so that whatever the growth does not touch starts as it would anyway.
        self._new = {
            name: tensor.clone() for name, tensor in StudentNet(large).state_dict().items()
        }
        pairs = zip(small.widths, large.widths, strict=True)
        self._levels = [self._copies(old, new) for old, new in pairs]

    def run(self) -> dict[str, Tensor]:
        levels, rgb = self._levels, torch.arange(3)
        self._layer("entry", rgb, levels[0])
        self._layer("exit", levels[0], rgb, transposed=True)
        for level in range(len(levels) - 1):
            fine, coarse = levels[level], levels[level + 1]
            self._layer(f"down.{level}", fine, coarse)
            self._layer(f"up.{level}", coarse, fine, transposed=True)
        for side in ("encoder", "decoder"):
            blocks = zip(_inner(self._small, side), _inner(self._large, side), strict=True)
            for level, (old, new) in enumerate(blocks):
                self._blocks(f"{side}.{level}", levels[level], old, new)
        return self._new

    def _blocks(
        self, name: str, stream: Tensor, old: tuple[int, ...], new: tuple[int, ...]
    ) -> None:
        for index, width in enumerate(new):
            block = f"{name}.{index}"
            if index < len(old):
                inner = self._copies(old[index], width)
                self._layer(f"{block}.first", stream, inner)
                self._layer(f"{block}.second", inner, stream)
            else:
                self._new[f"{block}.second.weight"].zero_()
                self._new[f"{block}.second.bias"].zero_()

    def _copies(self, old: int, new: int) -> Tensor:
        """Return which old channel each new one copies: int64 (new,), all old ones first."""
        extra = [torch.randperm(old, generator=self._generator) for _ in range(-(-new // old))]
        return torch.cat([torch.arange(old), *extra])[:new]

    def _layer(self, name: str, reads: Tensor, writes: Tensor, transposed: bool = False) -> None:
        weight = self._old[f"{name}.weight"].double()
        reading = 0 if transposed else 1
        weight = weight.index_select(1 - reading, writes).index_select(reading, reads)
        weight = (weight.movedim(reading, 0) * self._shares(reads, weight, reading)).movedim(
            0, reading
        )
        self._new[f"{name}.weight"] = weight.float()
        self._new[f"{name}.bias"] = self._old[f"{name}.bias"][writes].clone()

    def _shares(self, reads: Tensor, weight: Tensor, reading: int) -> Tensor:
        """Return factors that sum to 1 over the copies of a channel, for each weight its own."""
        shape = weight.movedim(reading, 0).shape
        noise = torch.randn(shape, generator=self._generator, dtype=torch.float64) * _SPREAD
        channels = int(reads.max()) + 1
        counts = torch.bincount(reads, minlength=channels).double()
        sums = torch.zeros((channels, *shape[1:]), dtype=torch.float64).index_add_(0, reads, noise)
        ones = (1,) * (len(shape) - 1)
        return (1 / counts[reads]).view(-1, *ones) + noise - (sums / counts.view(-1, *ones))[reads]


def _inner(config: StudentConfig, side: str) -> tuple[tuple[int, ...], ...]:
    """Return the channels inside each block of each level, whether they are stated or not."""
    counts: tuple[int, ...] = getattr(config, f"{side}_blocks")
    stated: tuple[tuple[int, ...], ...] = getattr(config, f"{side}_inner")
    widths = config.widths[: len(counts)]
    return stated or tuple((width,) * n for width, n in zip(widths, counts, strict=True))


def _check_growth(small: StudentConfig, large: StudentConfig) -> None:
    if len(small.widths) != len(large.widths):
        raise ValueError(f"has {len(small.widths)} levels, not {len(large.widths)}")
    names = ("widths", "encoder_blocks", "decoder_blocks")
    sizes = [(name, getattr(small, name), getattr(large, name)) for name in names]
    for side in ("encoder", "decoder"):
        levels = zip(_inner(small, side), _inner(large, side), strict=True)
        sizes += [(f"{side}_inner", old, new[: len(old)]) for old, new in levels]
    for name, old, new in sizes:
        if any(more < less for less, more in zip(old, new, strict=False)):
            raise ValueError(f"{name} {list(old)} cannot shrink to {list(new)}")
