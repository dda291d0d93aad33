"""The importance of channels: how much a network would lose with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from compress.pruning.dependencies import Axis
from core.errors import ConfigError
from core.mixture.dataset import MixtureDataset, Sample, to_float
from core.progress import track
from core.training.config import TrainConfig
from core.training.losses import LossConfig, reconstruction_loss

Importance = Literal["l2", "taylor"]


def l2_importance(axes: Sequence[Axis]) -> list[Tensor]:
    """Squared norm of the weights of a channel, as a share of those that would outlive it.

    That is, of the sum over the channels of its axis with a norm no smaller (LAMP: Lee et al.,
    ICLR 2021, eq. 2, here for channels). Bare norms cannot be compared between axes, whose layers
    differ in size and in kernel: they would empty the smallest first.

    Returns:
        float (width,) in [0, 1] for each axis.
    """
    norms = [axis.per_channel(lambda weight: weight.detach().square()) for axis in axes]
    return [_share_of_survivors(each) for each in norms]


def taylor_importance(
    net: nn.Module,
    axes: Sequence[Axis],
    batches: Sequence[Sample],
    loss: LossConfig,
    progress: bool = False,
) -> list[Tensor]:
    """What the loss would change by without a channel, to first order.

    For the weights w of a channel and the gradients g that one batch gives them it is
    ``(sum g w)**2``, added up over the batches (Molchanov et al., CVPR 2019, eq. 8). Squares of
    sums over single batches are kept apart, because near a minimum the mean of all gradients says
    nothing. Axes can be compared as they are.

    Args:
        net: in eval mode; its gradients are gone afterwards.
        axes: of ``net``.
        batches: what it is to be good at.
        loss: how that is measured.
        progress: show a bar on standard error.

    Returns:
        float (width,) for each axis.
    """
    device = next(net.parameters()).device
    totals = [torch.zeros(axis.width, device=device) for axis in axes]
    for batch in track(batches, "importance" if progress else None):
        net.zero_grad()
        rainy, clean = to_float(batch.rainy.to(device)), to_float(batch.clean.to(device))
        reconstruction_loss(net(rainy), clean, loss).backward()  # type: ignore[no-untyped-call]
        for axis, total in zip(axes, totals, strict=True):
            total += axis.per_channel(_first_order).square()
    net.zero_grad()
    return totals


def read_batches(training: TrainConfig, count: int, progress: bool) -> list[Sample]:
    """Read the first ``count`` batches of a run that have clean pictures, and keep them.

    Raises:
        ConfigError: all parts of the mixture are unlabelled.
        DataError: data that is missing or wrong.
    """
    named = training.mixture.parts.items()
    parts = {name: part for name, part in named if part.rain != "unlabelled"}
    if not parts:
        raise ConfigError(
            "mixture.parts: importance taylor needs clean pictures, but all parts are unlabelled; "
            "add another part or take l2"
        )
    mixture = replace(training.mixture, parts=parts)
    data = MixtureDataset(mixture, training.data_root, training.seed, progress)
    indices = range(count * training.batch_size)
    return list(DataLoader(data, training.batch_size, sampler=indices))


def _first_order(weight: Tensor) -> Tensor:
    if weight.grad is None:  # no part in the result: the hidden state of a single stage
        return torch.zeros_like(weight)
    return (weight.detach() * weight.grad).detach()


def _share_of_survivors(values: Tensor) -> Tensor:
    falling, order = values.sort(descending=True)
    shares = falling / falling.cumsum(0).clamp(min=torch.finfo(values.dtype).tiny)
    return torch.empty_like(values).scatter_(0, order, shares)
