"""Training losses on pictures in [0, 1], and the discriminator of the GAN phase."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor

from core.errors import ConfigError, TrainingError, check_bounds
from core.networks.gan_lstm import Discriminator

_FLOOR = 1e-3
"""Mean squared error at 30 dB, from which on a better picture weighs no more."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms that add up to the loss; a weight of 0 leaves the term out.

    Attributes:
        l1: mean absolute difference.
        mse: mean squared difference (Wang and Wang, GAN-LSTM, eq. 6).
        ssim: ``1 - SSIM``, the negative SSIM of eq. 7 shifted so that 0 is perfect.
        psnr: negative PSNR in units of 100 dB, mean over the pictures, errors above 30 dB counting
            little (HINet, Chen et al. 2021).
    """

    l1: float = 1.0
    mse: float = 0.0
    ssim: float = 0.0
    psnr: float = 0.0

    def __post_init__(self) -> None:
        weights = (self.l1, self.mse, self.ssim, self.psnr)
        if min(weights) < 0 or max(weights) <= 0:
            raise ConfigError(
                f"loss weights l1 {self.l1}, mse {self.mse}, ssim {self.ssim}, psnr {self.psnr}: "
                "none may be negative and one must be above 0"
            )


def reconstruction_loss(
    derained: Tensor, clean: Tensor, config: LossConfig, weighed_by: Tensor | None = None
) -> Tensor:
    """Weighted sum of the terms in ``config``.

    Args:
        derained: float (N, 3, H, W), about [0, 1].
        clean: float (N, 3, H, W) in [0, 1].
        weighed_by: pictures of the same shape; ``psnr`` is then :func:`weighed_error`.

    Returns:
        float scalar.
    """
    loss = derained.new_zeros(())
    if config.l1:
        loss = loss + config.l1 * F.l1_loss(derained, clean)
    if config.mse:
        loss = loss + config.mse * F.mse_loss(derained, clean)
    if config.ssim:
        loss = loss + config.ssim * (1 - ssim(derained, clean))
    if config.psnr:
        if weighed_by is None:
            term = negative_psnr(derained, clean)
        else:
            term = weighed_error(derained, clean, weighed_by)
        loss = loss + config.psnr * term
    return loss


def negative_psnr(derained: Tensor, clean: Tensor) -> Tensor:
    """Mean over the pictures of ``log10(MSE + 0.001) / 10``: minus the PSNR in units of 100 dB.

    A PSNR loss as in HINet (Chen et al., CVPR Workshops 2021). The mean absolute difference asks
    for the median of what may lie behind the rain, this for the mean, which is what PSNR is
    measured on. The constant is the error at 30 dB: pictures better than that, dry ones and those
    of light rain, would otherwise outweigh all others, and veil be left.

    Args:
        derained: float (N, 3, H, W), about [0, 1].
        clean: float (N, 3, H, W) in [0, 1].

    Returns:
        float scalar, at least -0.3.
    """
    return (picture_errors(derained, clean) + _FLOOR).log10().mean() / 10


def weighed_error(derained: Tensor, target: Tensor, clean: Tensor) -> Tensor:
    """Squared difference to ``target``, each picture weighed as ``negative_psnr`` of it weighs it.

    Where ``target`` is ``clean``, the gradient is that of :func:`negative_psnr`. Its logarithm of
    the distance to a teacher, which is closer in heavy rain than the clean picture is, would make
    much of heavy rain and little of light.

    Args:
        derained: float (N, 3, H, W), about [0, 1].
        target: float (N, 3, H, W) in [0, 1], such as a teacher's results.
        clean: float (N, 3, H, W) in [0, 1].

    Returns:
        float scalar, at least 0.
    """
    weights = 1 / (picture_errors(derained, clean).detach() + _FLOOR)
    return (weights * picture_errors(derained, target)).mean() / (10 * math.log(10))


def picture_errors(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of each picture, (N,), of two float (N, C, H, W)."""
    return (a - b).square().mean(dim=(1, 2, 3))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity (Wang et al. 2004), differentiable.

    Gaussian window of 11 taps with sigma 1.5, no padding, peak 1, mean over channels: the same
    definition as :func:`edge_runtime.metrics.ssim`.

    Args:
        a: float (N, C, H, W) in [0, 1], H and W at least 11.
        b: the same shape.

    Returns:
        float scalar, at most 1.
    """
    channels = a.shape[1]
    offsets = torch.arange(11, device=a.device, dtype=a.dtype) - 5
    profile = torch.exp(-(offsets**2) / (2 * 1.5**2))
    profile = (profile / profile.sum()).expand(channels, 1, 1, 11)

    def blur(x: Tensor) -> Tensor:
        rows = F.conv2d(x, profile, groups=channels)
        return F.conv2d(rows, profile.transpose(2, 3), groups=channels)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return similarity.mean()


def relativistic_average_loss(*, above: Tensor, below: Tensor) -> Tensor:
    """Loss of whoever wants the pictures of ``above`` to look more real than those of ``below``.

    RaSGAN of Jolicoeur-Martineau (2018, arXiv:1807.00734, section 4.2), with ``a`` and ``b`` for
    the scores and ``E`` for the mean over batch and patches:
    ``-E[log sigmoid(a - E[b])] - E[log(1 - sigmoid(b - E[a]))]``. The discriminator wants clean
    pictures above derained ones, the generator the other way round.

    Args:
        above: float of any shape, scores without a sigmoid.
        below: likewise.

    Returns:
        float scalar; ``2 log 2`` where all scores are equal.
    """
    # softplus(-x) is -log sigmoid(x), and softplus(x) is -log(1 - sigmoid(x)), without overflow.
    rise = F.softplus(below.mean() - above).mean()
    return rise + F.softplus(below - above.mean()).mean()


def r1_penalty(discriminator: torch.nn.Module, clean: Tensor) -> Tensor:
    """Half the squared gradient of the discriminator at clean pictures, to multiply by gamma.

    R1 of Mescheder et al. (ICML 2018, eq. 9). The scores of a picture's patches are summed and
    the result is divided by their number, so that its size does not depend on that of the crops.

    Args:
        discriminator: takes float (N, 3, H, W), gives float (N, 1, h, w).
        clean: float (N, 3, H, W) in [0, 1].

    Returns:
        float scalar, at least 0, with a gradient for the discriminator's weights.
    """
    clean = clean.detach().requires_grad_()
    scores = discriminator(clean)
    (gradient,) = torch.autograd.grad(scores.sum(), clean, create_graph=True)
    penalty: Tensor = gradient.square().sum() / (2 * scores.numel())
    return penalty


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
