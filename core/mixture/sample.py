"""Samples of a training step: pictures, and what may be learned from each of them."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor


class Kind(IntEnum):
    """Where a sample comes from, which says who may speak about it."""

    PAIR = 0
    """A rainy picture and its clean version that come again: on disk, or made once."""
    MADE = 1
    """A clean picture that rain was laid on for this sample alone."""
    DRY = 2
    """A picture without rain: nothing of it may change."""
    UNLABELLED = 3
    """A rainy picture without a clean version: only a teacher can say what it should become."""


class Sample(NamedTuple):
    """One sample, or a batch of N with one more dimension in front.

    Attributes:
        rainy: uint8 (3, H, W) RGB.
        clean: the same shape; zeros, which stand for nothing, where ``kind`` is ``UNLABELLED``.
        kind: int64 scalar, a :class:`Kind`.
        taught: what a teacher made of the whole rainy picture, cut like it: uint8 (3, H, W), zeros
            for the kinds ``MADE`` and ``DRY``; empty, (0,), where no such results are kept.
    """

    rainy: Tensor
    clean: Tensor
    kind: Tensor
    taught: Tensor

    def chunk(self, parts: int) -> list[Sample]:
        """Cut a batch into ``parts`` along N, which they must divide."""
        return [Sample(*part) for part in zip(*(each.chunk(parts) for each in self), strict=True)]


def to_float(pictures: Tensor) -> Tensor:
    """Turn uint8 (N, 3, H, W) into float32 in [0, 1], channels last in memory."""
    return (pictures.float() / 255).contiguous(memory_format=torch.channels_last)
