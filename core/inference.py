"""Run a network on 8-bit pictures of any size, the way the device does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.pairs import Image
from core.precision import Precision, precision_on
from core.views import SelfEnsemble, Views


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
        :class:`edge_runtime.Derainer` does.
    """
    height, width = rainy.shape[:2]
    device = next(network.parameters()).device
    batch = torch.from_numpy(rainy.copy()).to(device)
    batch = batch.permute(2, 0, 1)[None].float() / 255
    batch = batch.contiguous(memory_format=torch.channels_last)
    derained = network(pad_to_multiple(batch, size_multiple))[0, :, :height, :width]
    pixels = (derained.float().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return np.asarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy(), dtype=np.uint8)


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
