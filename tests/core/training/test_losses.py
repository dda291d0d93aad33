import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from core.errors import ConfigError, TrainingError
from core.training.losses import (
    AdversarialConfig,
    Adversary,
    LossConfig,
    negative_psnr,
    r1_penalty,
    reconstruction_loss,
    relativistic_average_loss,
    ssim,
    weighed_error,
)
from edge_runtime import metrics


def _tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()).double() / 255


def test_ssim_is_that_of_the_metrics(picture) -> None:
    a = picture(23, 31, 1)
    noise = np.random.default_rng(0).integers(-30, 30, a.shape)
    b = np.clip(a + noise, 0, 255).astype(np.uint8)
    assert float(ssim(_tensor(a), _tensor(b))) == pytest.approx(metrics.ssim(a, b), abs=1e-9)


def test_terms_add_up_by_hand() -> None:
    derained, clean = (torch.full((1, 3, 16, 16), v, dtype=torch.float64) for v in (0.5, 0.3))
    # Flat pictures: the contrast term is 1, so SSIM is the luminance term alone.
    likeness = (2 * 0.5 * 0.3 + 1e-4) / (0.5**2 + 0.3**2 + 1e-4)
    parts = {"l1": 0.2, "mse": 0.04, "ssim": 1 - likeness, "psnr": np.log10(0.041) / 10}
    config = LossConfig(l1=2.0, mse=3.0, ssim=5.0, psnr=7.0)
    wanted = sum(getattr(config, name) * value for name, value in parts.items())
    assert float(reconstruction_loss(derained, clean, config)) == pytest.approx(wanted, abs=1e-9)
    for name, value in parts.items():
        alone = LossConfig(**{**dict.fromkeys(parts, 0.0), name: 1.0})
        assert float(reconstruction_loss(derained, clean, alone)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("weights", [{"l1": -1.0}, {"l1": 0.0}])
def test_weights_that_make_no_loss(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="none may be negative and one must be above 0"):
        dataclasses.replace(LossConfig(), **weights)


def test_negative_psnr_is_that_of_the_metrics_for_each_picture(picture) -> None:
    clean = [picture(16, 16, seed) for seed in (1, 2)]
    rainy = [
        np.clip(p.astype(int) + add, 0, 255).astype(np.uint8)
        for p, add in zip(clean, (20, 90), strict=True)
    ]
    each = [10 ** (-metrics.psnr(a, b) / 10) for a, b in zip(rainy, clean, strict=True)]
    batch = (torch.cat([_tensor(p) for p in pictures]) for pictures in (rainy, clean))
    wanted = np.mean([np.log10(error + 0.001) for error in each]) / 10
    assert float(negative_psnr(*batch)) == pytest.approx(wanted)


def test_dry_pictures_do_not_outweigh_rain_in_negative_psnr() -> None:
    clean = torch.full((2, 3, 8, 8), 0.5, dtype=torch.float64)
    off = torch.tensor([0.0, 0.03, 0.0005], dtype=torch.float64).view(3, 1, 1, 1)
    exact, rainy, dry = (clean[:1] + off[i : i + 1] for i in range(3))
    assert float(negative_psnr(exact, clean[:1])) == pytest.approx(-0.3)
    both = torch.cat([rainy, dry]).requires_grad_()
    negative_psnr(both, clean).backward()
    size = both.grad.flatten(1).norm(dim=1)
    assert 0 < size[1] < size[0]


def test_a_teacher_weighs_pictures_as_the_clean_ones_do() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise, taught = torch.rand(3, 4, 3, 8, 8, generator=generator, dtype=torch.float64)
    sizes = torch.tensor([0.5, 0.2, 0.05, 0.0])[:, None, None, None]
    derained = (clean + noise * sizes).requires_grad_()
    same = weighed_error(derained, clean, clean), negative_psnr(derained, clean)
    pulls = [torch.autograd.grad(loss, derained)[0] for loss in same]
    torch.testing.assert_close(*pulls)
    errors, apart = (
        (derained.detach() - other).square().mean(dim=(1, 2, 3)).numpy()
        for other in (clean, taught)
    )
    wanted = np.mean(apart / (errors + 1e-3)) / (10 * np.log(10))
    loss = reconstruction_loss(derained, taught, LossConfig(l1=0, psnr=2), weighed_by=clean)
    assert loss.item() == pytest.approx(2 * wanted)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_relativistic_loss_equals_the_printed_formula() -> None:
    above, below = torch.randn(2, 1, 3, 4).double(), torch.randn(2, 1, 3, 4).double()
    a, b = above.numpy(), below.numpy()
    wanted = -np.log(sigmoid(a - b.mean())).mean() - np.log(1 - sigmoid(b - a.mean())).mean()
    found = relativistic_average_loss(above=above, below=below)
    assert float(found) == pytest.approx(wanted, abs=1e-12)
    moved = relativistic_average_loss(above=above + 7, below=below + 7)  # only differences count
    assert float(moved) == pytest.approx(float(found))


@pytest.mark.parametrize(
    ("above", "below", "loss"), [(5, 5, 2 * math.log(2)), (1e4, -1e4, 0), (-1e4, 1e4, 4e4)]
)
def test_equal_and_extreme_scores(above: float, below: float, loss: float) -> None:
    scores = (torch.full((2, 1, 3, 3), float(value)) for value in (above, below))
    found = relativistic_average_loss(**dict(zip(("above", "below"), scores, strict=True)))
    assert float(found) == pytest.approx(loss)


def test_r1_of_a_linear_discriminator() -> None:
    # One score a pixel, w . rgb + b: the gradient is w everywhere.
    linear = nn.Conv2d(3, 1, 1).double()
    penalty = r1_penalty(linear, torch.rand(4, 3, 5, 7, dtype=torch.float64))
    weight = linear.weight.detach()
    assert float(penalty.detach()) == pytest.approx(float(weight.square().sum()) / 2)
    penalty.backward()
    assert linear.weight.grad is not None
    assert torch.allclose(linear.weight.grad, weight, rtol=0, atol=1e-12)


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
