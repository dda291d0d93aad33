"""Networks on 8-bit pictures of any size, run the way the device does; precision and views."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.pairs import Image
from edge_runtime.machine import CPU_INFO, cpu_info
from edge_runtime.pyramid import Change, by_passes, everywhere
from edge_runtime.tiles import PEAKS

Precision = Literal["32-true", "bf16-mixed", "auto"]
"""Of the arithmetic; ``auto`` is bfloat16 where the device has instructions for it."""
_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As Linux names them; the last is that of ARM."""
_FIRST_GPU = (8, 0)
"""Compute capability of Ampere."""


def has_bfloat16(accelerator: str, *, info: Path = CPU_INFO) -> bool:
    """Say whether an accelerator computes in bfloat16 rather than converting to and fro.

    Args:
        accelerator: ``cpu``, ``cuda``, ``mps``, or ``auto``, which is a GPU where there is one.
        info: what Linux says of the processor.

    Returns:
        False where it cannot be known, such as on a processor outside Linux.
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= _FIRST_GPU
    listed = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpu_info(info), re.MULTILINE)
    return accelerator == "cpu" and not _FLAGS.isdisjoint(" ".join(listed).split())


def precision_on(accelerator: str, precision: Precision) -> Literal["32-true", "bf16-mixed"]:
    """Return the precision that an accelerator computes in, which is never ``auto``."""
    if precision == "auto":
        return "bf16-mixed" if has_bfloat16(accelerator) else "32-true"
    return precision


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


def pad_to_multiple(batch: Tensor, multiple: int) -> Tensor:
    """Repeat the right column and bottom row until both sizes are multiples.

    Args:
        batch: float (N, C, H, W).
        multiple: at least 1.

    Returns:
        float (N, C, H', W'), the input itself where nothing is missing.
    """
    right, bottom = -batch.shape[3] % multiple, -batch.shape[2] % multiple
    return F.pad(batch, (0, right, 0, bottom), mode="replicate") if right or bottom else batch


@torch.no_grad()
def derain(network: nn.Module, rainy: Image, size_multiple: int) -> Image:
    """Derain one picture with a torch network.

    Args:
        network: takes and returns float (N, 3, H, W), RGB in [0, 1].
        rainy: uint8 (H, W, 3) RGB.
        size_multiple: what the network needs height and width to be multiples of.

    Returns:
        derained: uint8 (H, W, 3) RGB, clamped and rounded half up, as
        :class:`edge_runtime.Derainer` does: large pictures at a fraction of their size first.
    """
    device = next(network.parameters()).device

    def once(image: NDArray[Any], change: Change | None, shrunk: bool) -> NDArray[Any]:
        height, width = image.shape[:2]
        if change is not None:
            image = change.done_to(image, 2, everywhere(image))
        peak = int(PEAKS[image.dtype])
        batch = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)).to(device)
        batch = (batch / peak).contiguous(memory_format=torch.channels_last)
        derained = network(pad_to_multiple(batch, size_multiple))[0, :, :height, :width]
        levels = (derained.float().nan_to_num().clamp(0, 1) * peak + 0.5).permute(1, 2, 0)
        return np.ascontiguousarray(levels.cpu().numpy(), image.dtype)

    return np.asarray(by_passes(rainy, "auto", once).image, np.uint8)


def derainer_of(
    checkpoint: Checkpoint, precision: Precision = "32-true", views: Views = 1
) -> Callable[[Image], Image]:
    """Build the network of a checkpoint into a function of one picture, as :func:`derain`.

    Args:
        checkpoint: with the network.
        precision: of the arithmetic; ``bf16-mixed`` is several times faster where the processor
            has it, and hardly moves a score; ``auto`` takes it there.

    Raises:
        CheckpointError: weights that do not fit the config.
    """
    network, multiple = SelfEnsemble([checkpoint.build()], views), checkpoint.config.size_multiple
    if precision_on("cpu", precision) == "32-true":
        return lambda rainy: derain(network, rainy, multiple)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def halved(rainy: Image) -> Image:
        with torch.autocast("cpu", torch.bfloat16):
            return derain(network, rainy, multiple)

    return halved
