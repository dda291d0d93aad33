"""The seam for networks that learn from more than their result, such as every stage of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from core.mixture.sample import Kind, Sample, to_float

PictureLoss = Callable[[Tensor, Tensor], Tensor]
"""Loss of a picture against the clean one, both float (N, 3, H, W), in the terms of the run."""


@runtime_checkable
class Auxiliary(Protocol):
    """A network with these two methods has its own losses added to those of any objective.

    Training calls :meth:`forward_auxiliary` in place of ``forward``, which still returns the
    derained picture alone, and which everything outside training calls.
    """

    def forward_auxiliary(self, rainy: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Derain, and keep what else there is to learn from.

        Args:
            rainy: float (N, 3, H, W), RGB in [0, 1].

        Returns:
            What ``forward`` returns, and further tensors by name, each with N in front.
        """
        ...

    def auxiliary_losses(
        self, outputs: Mapping[str, Tensor], rainy: Tensor, clean: Tensor, loss: PictureLoss
    ) -> dict[str, Tensor]:
        """Compute the losses on those tensors, in float32.

        Args:
            outputs: the tensors by name, float32, of the samples that have a clean picture.
            rainy: float32 (N, 3, H, W) in [0, 1], of the same samples.
            clean: likewise.
            loss: what the run takes of its result, for pictures among the tensors.

        Returns:
            Float scalars by name, means over the samples, with their weights: they are added up.
            The names are for the log, and none of them is that of a term of an objective.
        """
        ...


def auxiliary_losses(
    network: Auxiliary, outputs: Mapping[str, Tensor], batch: Sample, loss: PictureLoss
) -> dict[str, Tensor]:
    """Compute a network's own losses on the samples of a batch that have a clean picture.

    They are means over the whole batch, so that one cut into parts makes the same step.

    Args:
        network: what made the outputs.
        outputs: float32 tensors by name, N in front.
        batch: what they were made from.
        loss: as :meth:`Auxiliary.auxiliary_losses`.

    Returns:
        Float scalars by name, always the same names; zeros where no sample has a clean picture.
    """
    labelled = batch.kind != Kind.UNLABELLED
    share = labelled.float().mean()
    # Without any, zero times the losses of all: several processes need each gradient and name.
    rows = labelled | ~labelled.any()
    chosen = {name: tensor[rows] for name, tensor in outputs.items()}
    rainy, clean = to_float(batch.rainy[rows]), to_float(batch.clean[rows])
    losses = network.auxiliary_losses(chosen, rainy, clean, loss)
    return {name: share * value for name, value in losses.items()}
