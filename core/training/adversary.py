"""The GAN phase: a discriminator in training, and what it says to the generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from core.errors import ConfigError, TrainingError, check_bounds
from core.networks.gan_lstm import Discriminator
from core.training.losses import r1_penalty, relativistic_average_loss


@dataclass(frozen=True)
class AdversarialConfig:
    """The GAN phase of a run; a weight of 0 leaves it out.

    Attributes:
        weight: of the adversarial loss beside the terms of ``loss``, which stay.
        start: finished steps before it begins; they are the PSNR phase. 0 is for a network that
            ``init`` has trained already.
        learning_rate: of the discriminator, constant.
        width: channels of the discriminator's first convolution.
        depth: of its stride-2 convolutions, so that one score stands for ``2**depth`` pixels.
        spectral: bound it by spectral normalization (Miyato et al., ICLR 2018).
        r1: weight of the gradient penalty R1 (Mescheder et al., ICML 2018); 0 leaves it out.

    Raises:
        ConfigError: a value outside its range.
    """

    weight: float = 0.0
    start: int = 0
    learning_rate: float = 1e-4
    width: int = 32
    depth: int = 4
    spectral: bool = True
    r1: float = 0.0

    def __post_init__(self) -> None:
        check_bounds(self, "adversarial.", weight=0, start=0, r1=0, width=1, depth=1)
        if not self.learning_rate > 0:
            raise ConfigError(
                f"adversarial.learning_rate {self.learning_rate} must be above 0, such as 0.0001"
            )


class Adversary:
    """A patch discriminator and its optimizer (Wang and Wang, GAN-LSTM, I.C; relativistic average).

    Args:
        config: with a weight above 0.
        fabric: device, precision and processes; the optimizer is AdamW.

    Attributes:
        module: the discriminator.
        optimizer: ``optimizer.optimizer`` is the bare one.
    """

    def __init__(self, config: AdversarialConfig, fabric: Fabric) -> None:
        self.config, self._fabric = config, fabric
        discriminator = Discriminator(config.width, config.depth, config.spectral)
        self.module = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=config.learning_rate, betas=(0.5, 0.99)
        )
        self._network: Any
        self._network, self.optimizer = fabric.setup(self.module, optimizer)

    def generator_loss(self, derained: Tensor, clean: Tensor) -> Tensor:
        """Weighted loss of the generator; the discriminator gets no gradient.

        Args:
            derained: float (N, 3, H, W), about [0, 1], with the generator's graph.
            clean: float (N, 3, H, W) in [0, 1].

        Returns:
            float scalar.
        """
        self.module.requires_grad_(False)
        with self._fabric.autocast():
            with torch.no_grad():
                clean_scores = self.module(clean).float()
            derained_scores = self.module(derained).float()
        self.module.requires_grad_(True)
        loss = relativistic_average_loss(above=derained_scores, below=clean_scores)
        return self.config.weight * loss

    def collect(self, derained: Tensor, clean: Tensor, parts: int, last: bool) -> Tensor:
        """Add the gradient of one of the ``parts`` that a step's batch is cut into.

        Args:
            derained: float (N, 3, H, W), about [0, 1].
            clean: float (N, 3, H, W) in [0, 1].
            parts: how many there are; the gradient is their mean.
            last: the processes exchange gradients with the last one.

        Returns:
            Loss of the discriminator on this part, float scalar without gradient.
        """
        with self._fabric.no_backward_sync(self._network, enabled=not last):
            both: Tensor = self._network(torch.cat([clean, derained.detach()]))
            clean_scores, derained_scores = both.float().chunk(2)
            loss = relativistic_average_loss(above=clean_scores, below=derained_scores)
            if self.config.r1:
                loss = loss + self.config.r1 * r1_penalty(self.module, clean)
            self._fabric.backward(loss / parts)
        return loss.detach()

    def step(self) -> None:
        """Take the step that the collected gradients say.

        Raises:
            TrainingError: a gradient is not finite; nothing has changed then.
        """
        norm = torch.nn.utils.get_total_norm(
            [weight.grad for weight in self.module.parameters() if weight.grad is not None]
        )
        if not math.isfinite(norm):
            raise TrainingError(
                "adversarial: gradient of the discriminator is not finite; "
                "lower adversarial.learning_rate or take precision 32-true"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
