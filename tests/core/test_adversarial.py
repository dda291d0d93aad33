"""Relativistic average losses and R1: by hand, by closed form, and as a game."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.networks.gan_lstm import Discriminator, GanLstm, GanLstmConfig
from core.training.losses import r1_penalty
from core.training.losses import relativistic_average_discriminator_loss as discriminator_loss
from core.training.losses import relativistic_average_generator_loss as generator_loss


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_losses_equal_the_printed_formula() -> None:
    real, fake = torch.randn(2, 1, 3, 4).double(), torch.randn(2, 1, 3, 4).double()
    r, f = real.numpy(), fake.numpy()
    real_is_more, fake_is_more = sigmoid(r - f.mean()), sigmoid(f - r.mean())
    wanted = -np.log(real_is_more).mean() - np.log(1 - fake_is_more).mean()
    assert float(discriminator_loss(real, fake)) == pytest.approx(wanted, abs=1e-12)
    wanted = -np.log(fake_is_more).mean() - np.log(1 - real_is_more).mean()
    assert float(generator_loss(real, fake)) == pytest.approx(wanted, abs=1e-12)


def test_by_hand() -> None:
    real, fake = torch.tensor([2.0]), torch.tensor([0.0])
    assert float(discriminator_loss(real, fake)) == pytest.approx(2 * math.log1p(math.exp(-2)))
    assert float(generator_loss(real, fake)) == pytest.approx(2 * math.log1p(math.exp(2)))


def test_equal_scores_cost_two_log_two() -> None:
    scores = torch.full((2, 1, 3, 3), 5.0)
    for loss in (generator_loss, discriminator_loss):
        assert float(loss(scores, scores)) == pytest.approx(2 * math.log(2))


def test_only_differences_count() -> None:
    real, fake = torch.randn(2, 1, 3, 4).double(), torch.randn(2, 1, 3, 4).double()
    moved = float(generator_loss(real + 7, fake + 7))
    assert moved == pytest.approx(float(generator_loss(real, fake)))


def test_extreme_scores_stay_finite() -> None:
    real, fake = torch.tensor([1e4]), torch.tensor([-1e4])
    assert float(generator_loss(real, fake)) == pytest.approx(4e4)
    assert float(discriminator_loss(real, fake)) == 0


def test_both_sides_pull_in_opposite_directions() -> None:
    for loss, sign in ((generator_loss, 1), (discriminator_loss, -1)):
        real = torch.randn(2, 1, 3, 3, requires_grad=True)
        fake = torch.randn(2, 1, 3, 3, requires_grad=True)
        loss(real, fake).backward()
        assert real.grad is not None
        assert fake.grad is not None
        assert (sign * real.grad > 0).all()
        assert (sign * fake.grad < 0).all()


def test_r1_of_a_linear_discriminator() -> None:
    # One score a pixel, w . rgb + b: the gradient is w everywhere.
    linear = nn.Conv2d(3, 1, 1).double()
    penalty = r1_penalty(linear, torch.rand(4, 3, 5, 7, dtype=torch.float64))
    weight = linear.weight.detach()
    assert float(penalty.detach()) == pytest.approx(float(weight.square().sum()) / 2)
    penalty.backward()
    assert linear.weight.grad is not None
    assert torch.allclose(linear.weight.grad, weight, rtol=0, atol=1e-12)


def test_r1_equals_equation_9_for_one_score_a_picture() -> None:
    class OneScore(nn.Module):
        def forward(self, picture: Tensor) -> Tensor:
            return picture.pow(2).sum(dim=(1, 2, 3), keepdim=True) / 2

    clean = torch.rand(4, 3, 5, 7)
    wanted = clean.square().sum(dim=(1, 2, 3)).mean() / 2  # the gradient is the picture itself
    assert float(r1_penalty(OneScore(), clean).detach()) == pytest.approx(float(wanted))
    assert not clean.requires_grad


def test_a_round_of_the_game() -> None:
    generator = GanLstm(GanLstmConfig(width=4, stages=2, blocks=1, radius=1))
    discriminator = Discriminator(width=4, depth=2)
    rainy, clean = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    derained = generator(rainy)

    loss = discriminator_loss(discriminator(clean), discriminator(derained.detach()))
    (loss + r1_penalty(discriminator, clean)).backward()
    assert all(parameter.grad is None for parameter in generator.parameters())
    for name, parameter in discriminator.named_parameters():
        # The last bias moves all scores alike, which relativistic losses do not see.
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name == "convolutions.2.bias", name

    generator_loss(discriminator(clean).detach(), discriminator(derained)).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert generator.entry.weight.grad is not None
    assert generator.entry.weight.grad.abs().max() > 0


def test_the_discriminator_learns_to_tell_them_apart() -> None:
    discriminator = Discriminator(width=8, depth=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    clean = torch.rand(4, 3, 16, 16)
    smooth = nn.functional.avg_pool2d(clean, 3, stride=1, padding=1)
    losses = []
    for _ in range(60):
        loss = discriminator_loss(discriminator(clean), discriminator(smooth))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
