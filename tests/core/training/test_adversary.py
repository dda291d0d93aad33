"""The discriminator in training: what it learns, and what it leaves alone."""

import math
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric

from core.errors import ConfigError, TrainingError
from core.training.adversary import AdversarialConfig, Adversary
from core.training.losses import relativistic_average_loss

CLEAN = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
DERAINED = CLEAN.mean((2, 3), keepdim=True).expand_as(CLEAN).contiguous()  # without any texture


def _adversary(**values: Any) -> Adversary:
    torch.manual_seed(0)
    config = AdversarialConfig(**{"weight": 1.0, "width": 4, "depth": 2, **values})
    return Adversary(config, Fabric(accelerator="cpu", devices=1))


@pytest.mark.parametrize("spectral", [True, False])
def test_it_learns_to_tell_clean_from_derained(spectral: bool) -> None:
    adversary = _adversary(spectral=spectral, learning_rate=0.01)
    losses = []
    for _ in range(60):
        losses.append(adversary.collect(DERAINED, CLEAN, parts=1, last=True).item())
        adversary.step()
    assert losses[0] == pytest.approx(2 * math.log(2), abs=0.2)
    assert losses[-1] < 0.5 * losses[0]


def test_the_generator_learns_and_the_discriminator_does_not() -> None:
    adversary = _adversary(weight=0.3, spectral=False)
    derained = DERAINED.clone().requires_grad_()
    loss = adversary.generator_loss(derained, CLEAN)
    scores = [adversary.module(picture) for picture in (CLEAN, DERAINED)]
    wanted = 0.3 * relativistic_average_loss(above=scores[1], below=scores[0])
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-6)
    loss.backward()
    assert derained.grad is not None
    assert derained.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in adversary.module.parameters())
    assert all(weight.requires_grad for weight in adversary.module.parameters())


def test_the_gradient_of_parts_is_their_mean() -> None:
    once, twice = _adversary(spectral=False), _adversary(spectral=False)
    once.collect(DERAINED, CLEAN, parts=1, last=True)
    for last in (False, True):
        twice.collect(DERAINED, CLEAN, parts=2, last=last)
    for mine, theirs in zip(once.module.parameters(), twice.module.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_r1_punishes_a_steep_discriminator() -> None:
    plain, punished = _adversary(spectral=False), _adversary(spectral=False, r1=50.0)
    without, with_r1 = (
        each.collect(DERAINED, CLEAN, parts=1, last=True) for each in (plain, punished)
    )
    assert with_r1 > without
    first = [next(iter(each.module.parameters())).grad for each in (plain, punished)]
    assert not torch.allclose(*first)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    adversary = _adversary(spectral=False)
    before = [weight.detach().clone() for weight in adversary.module.parameters()]
    adversary.collect(DERAINED * math.inf, CLEAN, parts=1, last=True)
    with pytest.raises(TrainingError, match=r"discriminator is not finite; lower adversarial\."):
        adversary.step()
    after = list(adversary.module.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight", -0.1), ("start", -1), ("r1", -1.0), ("width", 0), ("depth", 0)],
)
def test_values_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"adversarial\.{field} {value} must be"):
        AdversarialConfig(**{field: value})


def test_a_learning_rate_of_nothing() -> None:
    with pytest.raises(ConfigError, match=r"adversarial\.learning_rate 0 must be above 0"):
        AdversarialConfig(learning_rate=0)
