"""Growth of a small trained network into a larger one that computes the same function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from core.checkpoint import Checkpoint
from core.networks import ARCHITECTURES
from core.networks.gan_lstm import GanLstmConfig
from core.networks.student import StudentConfig

_SPREAD = 0.25
"""Standard deviation of the shares by which the copies of a channel divide what follows them."""


Growing = StudentConfig | GanLstmConfig
"""Configs of the networks that can grow."""


def grow(checkpoint: Checkpoint, config: Growing, seed: int = 0) -> Checkpoint:
    """Widen a student or GAN-LSTM, and deepen a student, without changing what it computes.

    Net2Net (Chen, Goodfellow and Shlens, ICLR 2016, arXiv:1511.05641): new channels are copies of
    old ones, and the weights that read a channel are divided among its copies. The shares are
    drawn anew for every weight, so that copies receive different gradients and part. New residual
    blocks have a last convolution of zeros.

    Args:
        checkpoint: of one of these networks, in float32.
        config: what it becomes, of the same kind: as many levels, each at least as wide, with as
            many blocks or, for a student, more, each at least as wide inside.
        seed: of the copies and shares.

    Returns:
        The grown checkpoint, its recipe one line longer.

    Raises:
        ValueError: a part of ``config`` is smaller than it is in ``checkpoint``, or differs in
            what growth does not change.
    """
    small: Growing = checkpoint.config
    fresh = ARCHITECTURES[checkpoint.architecture].module(config).state_dict()
    growth = _Growth(checkpoint.weights, fresh, torch.Generator().manual_seed(seed))
    if isinstance(small, StudentConfig) and isinstance(config, StudentConfig):
        _grow_student(growth, small, config)
        before, after = small.widths, config.widths
    elif isinstance(small, GanLstmConfig) and isinstance(config, GanLstmConfig):
        _grow_gan_lstm(growth, small, config)
        before, after = small.level_widths, config.level_widths
    else:
        raise ValueError(f"{type(small).__name__} cannot become {type(config).__name__}")
    line = f"grow: widths {list(before)} to {list(after)}, seed {seed}"
    return dataclasses.replace(
        checkpoint, config=config, weights=growth.weights, recipe=(*checkpoint.recipe, line)
    )


class _Growth:
    """The weights of the larger network, layer by layer; whatever no call touches starts as new."""

    def __init__(
        self, old: Mapping[str, Tensor], fresh: Mapping[str, Tensor], generator: torch.Generator
    ) -> None:
        self._old, self._generator = old, generator
        self.weights = {name: tensor.clone() for name, tensor in fresh.items()}

    def copies(self, old: int, new: int) -> Tensor:
        """Return which old channel each new one copies: int64 (new,), all old ones first."""
        extra = [torch.randperm(old, generator=self._generator) for _ in range(-(-new // old))]
        return torch.cat([torch.arange(old), *extra])[:new]

    def layer(self, name: str, reads: Tensor, writes: Tensor, transposed: bool = False) -> None:
        """Copy a convolution from the channels that it reads to those that it writes."""
        weight = self._old[f"{name}.weight"].double()
        reading = 0 if transposed else 1
        weight = weight.index_select(1 - reading, writes).index_select(reading, reads)
        weight = (weight.movedim(reading, 0) * self._shares(reads, weight, reading)).movedim(
            0, reading
        )
        self.weights[f"{name}.weight"] = weight.float()
        if f"{name}.bias" in self._old:
            self.weights[f"{name}.bias"] = self._old[f"{name}.bias"][writes].clone()

    def silence(self, name: str) -> None:
        """Let a new convolution give zeros."""
        self.weights[f"{name}.weight"].zero_()
        self.weights[f"{name}.bias"].zero_()

    def _shares(self, reads: Tensor, weight: Tensor, reading: int) -> Tensor:
        """Return factors that sum to 1 over the copies of a channel, for each weight its own."""
        shape = weight.movedim(reading, 0).shape
        noise = torch.randn(shape, generator=self._generator, dtype=torch.float64) * _SPREAD
        channels = int(reads.max()) + 1
        counts = torch.bincount(reads, minlength=channels).double()
        sums = torch.zeros((channels, *shape[1:]), dtype=torch.float64).index_add_(0, reads, noise)
        ones = (1,) * (len(shape) - 1)
        return (1 / counts[reads]).view(-1, *ones) + noise - (sums / counts.view(-1, *ones))[reads]


def _grow_student(growth: _Growth, small: StudentConfig, large: StudentConfig) -> None:
    if len(small.widths) != len(large.widths):
        raise ValueError(f"has {len(small.widths)} levels, not {len(large.widths)}")
    for name in ("stride", "kernel", "up", "exit_kernel", "closed"):
        if getattr(small, name) != getattr(large, name):
            raise ValueError(f"has {name} {getattr(small, name)}, not {getattr(large, name)}")
    names = ("widths", "encoder_blocks", "decoder_blocks")
    sizes = [(name, getattr(small, name), getattr(large, name)) for name in names]
    for side in ("encoder", "decoder"):
        paired = zip(_inner(small, side), _inner(large, side), strict=True)
        sizes += [(f"{side}_inner", old, new[: len(old)]) for old, new in paired]
    _check_sizes(sizes)
    levels = [growth.copies(old, new) for old, new in zip(small.widths, large.widths, strict=True)]
    rgb = torch.arange(3)
    growth.layer("entry", rgb, levels[0])

    def upward(name: str, reads: Tensor, writes: Tensor, scale: int) -> None:
        shuffled = small.up == "shuffle"
        if shuffled:  # a channel is a block of pixels
            writes = (writes[:, None] * scale**2 + torch.arange(scale**2)).flatten()
        growth.layer(name, reads, writes, transposed=not shuffled)

    upward("exit", levels[0], rgb, small.stride)
    for level in range(len(levels) - 1):
        fine, coarse = levels[level], levels[level + 1]
        growth.layer(f"down.{level}", fine, coarse)
        upward(f"up.{level}", coarse, fine, 2)
    for side in ("encoder", "decoder"):
        blocks = zip(_inner(small, side), _inner(large, side), strict=True)
        for level, (old, new) in enumerate(blocks):
            for index, width in enumerate(new):
                block = f"{side}.{level}.{index}"
                if index < len(old):
                    inner = growth.copies(old[index], width)
                    growth.layer(f"{block}.first", levels[level], inner)
                    growth.layer(f"{block}.second", inner, levels[level])
                else:
                    growth.silence(f"{block}.second")


def _inner(config: StudentConfig, side: str) -> tuple[tuple[int, ...], ...]:
    """Return the channels inside each block of each level, whether they are stated or not."""
    counts: tuple[int, ...] = getattr(config, f"{side}_blocks")
    stated: tuple[tuple[int, ...], ...] = getattr(config, f"{side}_inner")
    widths = config.widths[: len(counts)]
    return stated or tuple((width,) * n for width, n in zip(widths, counts, strict=True))


def _grow_gan_lstm(growth: _Growth, small: GanLstmConfig, large: GanLstmConfig) -> None:
    widths = ("width", "entry_width", "coarse_widths", "inner_widths", "squeeze_widths", "stages")
    for part in dataclasses.fields(small):
        old, new = getattr(small, part.name), getattr(large, part.name)
        if old != new and part.name not in widths:
            raise ValueError(f"{part.name} {old} cannot become {new}")
    before, after = _gan_lstm_widths(small), _gan_lstm_widths(large)
    _check_sizes([(name, old, after[name]) for name, old in before.items()])

    def copies(name: str) -> list[Tensor]:
        pairs = zip(before[name], after[name], strict=True)
        return [growth.copies(old, new) for old, new in pairs]

    (entry,), levels, inners = copies("entry_width"), copies("widths"), copies("inner_widths")
    pictures, rgb = torch.arange(9 if small.base_layer else 6), torch.arange(3)
    growth.layer("entry", pictures, entry if small.recurrent else levels[0])
    if small.recurrent:
        gates = torch.cat([levels[0] + gate * small.width for gate in range(4)])
        growth.layer("cell.from_input", entry, gates)
        growth.layer("cell.from_hidden", levels[0], gates)
    for index, (level, inner) in enumerate(zip(small.module_levels, inners, strict=True)):
        growth.layer(f"body.{index}.first", levels[level], inner)
        growth.layer(f"body.{index}.second", inner, levels[level])
        if small.attention == "spatial":
            growth.layer(f"body.{index}.attention.weigh", levels[level], torch.arange(1))
    if small.attention == "channel":
        for index, narrow in enumerate(copies("squeeze_widths")):
            wide = levels[small.module_levels[index]]
            growth.layer(f"body.{index}.attention.squeeze", wide, narrow)
            growth.layer(f"body.{index}.attention.excite", narrow, wide)
    for step, (fine, coarse) in enumerate(pairwise(levels)):
        growth.layer(f"down.{step}", fine, coarse)
        growth.layer(f"up.{step}", coarse, fine, transposed=True)
    growth.layer("exit", levels[0], rgb, transposed=small.body_scale > 1)


def _gan_lstm_widths(config: GanLstmConfig) -> dict[str, tuple[int, ...]]:
    """Return all widths, whether they are stated or not."""
    own = tuple(config.level_widths[level] for level in config.module_levels)
    return {
        "entry_width": (config.entry_width or config.width,),
        "widths": config.level_widths,
        "inner_widths": config.inner_widths or own,
        "squeeze_widths": config.squeeze_widths or tuple(max(4, width // 4) for width in own),
    }


def _check_sizes(sizes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> None:
    for name, old, new in sizes:
        if any(more < less for less, more in zip(old, new, strict=False)):
            raise ValueError(f"{name} {list(old)} cannot shrink to {list(new)}")
