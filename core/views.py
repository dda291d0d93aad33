"""The mean of what networks make of a picture and of its mirror images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Views = Literal[1, 2, 4, 8]
_POSES = {1: (0,), 2: (0, 1), 4: (0, 1, 4, 5), 8: (0, 1, 2, 3, 4, 5, 6, 7)}
"""Odd poses are mirrored left to right; half the number are quarter turns."""


class SelfEnsemble(nn.Module):
    """Networks and views of a picture, averaged: the errors of each differ, so the mean is better.

    The self-ensemble of EDSR (Lim et al., CVPRW 2017, section 3.4). 2 views add the picture
    mirrored left to right; 4 both of these upside down; 8 all turned by a quarter. Rain falls
    downwards, which a network that was trained on falling rain counts on: try few views first.

    Args:
        networks: take and return float (N, 3, H, W), RGB in [0, 1], of the same sizes.
        views: passes of a picture through each.
    """

    def __init__(self, networks: Sequence[nn.Module], views: Views) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.views = views

    def forward(self, rainy: Tensor) -> Tensor:
        """Derain.

        Args:
            rainy: float (N, 3, H, W), RGB in [0, 1], sizes as the networks need them.

        Returns:
            float32 of the same shape, as the networks return it: not clamped.
        """
        total = torch.zeros_like(rainy, dtype=torch.float32)
        # The picture as it is comes last, and the first network, so that hooks on that keep what
        # belongs to it.
        for network in reversed(self.networks):
            for pose in reversed(_POSES[self.views]):
                total += _back(network(_posed(rainy, pose)).float(), pose)
        return total / (self.views * len(self.networks))


def _posed(pictures: Tensor, pose: int) -> Tensor:
    if pose % 2:
        pictures = pictures.flip(3)
    return pictures.rot90(pose // 2, (2, 3)).contiguous(memory_format=torch.channels_last)


def _back(pictures: Tensor, pose: int) -> Tensor:
    pictures = pictures.rot90(-(pose // 2), (2, 3))
    return pictures.flip(3) if pose % 2 else pictures
