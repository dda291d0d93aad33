"""Training losses on pictures in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import ConfigError

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
