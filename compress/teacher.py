"""The network that a student learns from: frozen, of any architecture, seen through any views."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from core.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from core.errors import CheckpointError

Views = Literal[1, 2, 8]


class Teacher(nn.Module):
    """A trained network that no longer changes: in eval mode, without gradients.

    With several ``views`` its result is the mean of what it makes of the picture and of its mirror
    images, turned back (the self-ensemble of EDSR, Lim et al., CVPRW 2017, section 3.4): 2 mirrors
    left to right; 8 turns both by quarters as well. Rain falls downwards, which a network that was
    trained on falling rain counts on: try 2 before 8.

    Args:
        checkpoint: the network.
        sha256: of its file.
        views: 1, 2 or 8 passes a picture.

    Raises:
        CheckpointError: weights that do not fit the config.
    """

    def __init__(self, checkpoint: Checkpoint, sha256: str, views: Views = 1) -> None:
        super().__init__()
        self.checkpoint, self.sha256, self.views = checkpoint, sha256, views
        network = checkpoint.build().requires_grad_(False)
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this many pixels."""
        return int(self.checkpoint.config.size_multiple)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode, whatever the modules around it do."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, rainy: Tensor) -> Tensor:
        """Derain.

        Args:
            rainy: float (N, 3, H, W), RGB in [0, 1], H and W multiples of :attr:`size_multiple`.

        Returns:
            float32 of the same shape, clamped to [0, 1].
        """
        total = torch.zeros_like(rainy, dtype=torch.float32)
        # The picture as it is comes last, so that hooks on the network keep what belongs to it.
        for view in reversed(range(self.views)):
            total += _back(self.network(_view(rainy, view)).float(), view)
        return (total / self.views).clamp_(0, 1)


def load_teacher(place: str | Path, views: Views = 1) -> Teacher:
    """Read a teacher by path or shipped name.

    Raises:
        CheckpointError: an unknown name, a missing or torn file, or one that is not a checkpoint of
            this project; what to do with published weights (``.pth``) is said.
    """
    if Path(place).suffix in (".pth", ".pt"):
        raise CheckpointError(
            f"teacher {place}: is no checkpoint of this project; make one of it: "
            f"derain import {place} --family prenet"
        )
    path = find_checkpoint(place)
    checkpoint = load_checkpoint(path)
    return Teacher(checkpoint, hashlib.sha256(path.read_bytes()).hexdigest(), views)


def _view(pictures: Tensor, view: int) -> Tensor:
    if view % 2:
        pictures = pictures.flip(3)
    return pictures.rot90(view // 2, (2, 3)).contiguous(memory_format=torch.channels_last)


def _back(pictures: Tensor, view: int) -> Tensor:
    pictures = pictures.rot90(-(view // 2), (2, 3))
    return pictures.flip(3) if view % 2 else pictures
