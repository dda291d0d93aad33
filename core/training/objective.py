"""What a training run makes small, and the seam where another objective takes its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from core.mixture.sample import Sample, to_float
from core.pairs import Image
from core.training.losses import LossConfig, reconstruction_loss


class Objective(nn.Module):
    """The difference to the clean pictures; a subclass adds to it or says something else.

    A step calls :meth:`observe` right after the network, then the objective itself. Both see the
    same share of the batch. Losses are means over all its samples, so that a batch cut into parts
    or shared by several processes makes the same step.

    Args:
        loss: weights of its terms.

    Attributes:
        learned: what is trained beside the network: it is in the optimizer and in the training
            state, not in the checkpoint.
        verb: first word of the recipe line.
        note: end of the recipe line, such as the name of a teacher. A run resumes only with the
            note that it was started with.
        data: names of further data sets to which the network owes something.
        clean_weight: of what clean pictures say; the losses that a network has of its own (see
            :mod:`core.networks.auxiliary`) are added with it.
        takes_unlabelled: whether it needs no clean picture for the kind ``UNLABELLED``.
        teach: derains a whole picture, uint8 (H, W, 3) RGB in and out, where such results are to
            be kept and handed back as :attr:`core.mixture.sample.Sample.taught`; otherwise None.
        pieces: how many pieces with made rain it derains too; see
            :class:`core.mixture.dataset.MixtureDataset`.
    """

    def __init__(self, loss: LossConfig) -> None:
        super().__init__()
        self.loss = loss
        self.learned: nn.Module = nn.ModuleDict()
        self.verb = "train"
        self.note = ""
        self.data: tuple[str, ...] = ()
        self.clean_weight = 1.0
        self.takes_unlabelled = False
        self.teach: Callable[[Image], Image] | None = None
        self.pieces = 0

    def observe(self, batch: Sample) -> dict[str, Tensor]:
        """Run further networks, in the precision and over the processes of the run.

        Whatever uses :attr:`learned` belongs here, because the gradients of several processes
        are exchanged for this call.

        Returns:
            What :meth:`forward` needs of them, by name.
        """
        return {}

    def forward(
        self, derained: Tensor, batch: Sample, observed: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the loss, in float32.

        Args:
            derained: float32 (N, 3, H, W), about [0, 1], of the network in training.
            batch: what it was made from.
            observed: what :meth:`observe` returned.

        Returns:
            Float scalars by name; ``loss`` is what is made small, the others are for the log.
        """
        return {"loss": reconstruction_loss(derained, to_float(batch.clean), self.loss)}


MakeObjective = Callable[[nn.Module], Objective]
"""Makes the objective of a run for its network, which has its first weights by then."""
