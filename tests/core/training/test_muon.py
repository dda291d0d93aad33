"""Muon against torch's own, which takes matrices alone, and against torch's AdamW."""

from pathlib import Path

import pytest
import torch
from torch import nn

from core.training.muon import Muon, orthogonal
from core.training.state import Stateful, load_state, save_state


def _convolution(seed: int = 0) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(5, 12, 3)


def _descend(network: nn.Conv2d, *optimizers: torch.optim.Optimizer, steps: int = 4) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        loss = network(torch.rand(2, 5, 8, 8, generator=generator)).square().mean()
        network.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("shape", [(8, 8), (16, 144), (144, 16), (1, 27)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.1), (torch.float32, 1e-4)])
def test_singular_values_come_near_one_and_vectors_stay(
    shape: tuple[int, int], dtype: torch.dtype, bound: float
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonal(matrix, dtype) @ right.T
    values = inside.diagonal()
    assert values.min() > 0.3
    assert values.max() < 1.4
    assert (inside - torch.diag(values)).abs().max() < bound
    assert orthogonal(matrix).shape == shape


def test_size_of_the_gradient_does_not_matter() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(8, 45)
    assert (orthogonal(matrix * 1e-3) - orthogonal(matrix)).abs().max() < 0.02
    assert not orthogonal(torch.zeros(4, 9)).any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
def test_weights_of_convolutions_as_matrices_of_torchs_muon() -> None:
    mine, other = _convolution(), _convolution()
    precision = torch.bfloat16  # that of torch's
    _descend(mine, Muon(mine.parameters(), 0.01, 0.1, precision))
    weight = other.weight
    matrix = nn.Parameter(weight.detach().reshape(12, -1).clone())
    oracle = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")

    class Reshaped(torch.optim.Optimizer):
        def __init__(self) -> None:
            super().__init__([weight], {})

        def step(self) -> None:  # type: ignore[override]
            matrix.grad = weight.grad.reshape(12, -1)
            oracle.step()
            weight.data.copy_(matrix.reshape(weight.shape))

    adam = torch.optim.AdamW([other.bias], lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    _descend(other, Reshaped(), adam)
    assert torch.allclose(mine.weight, other.weight, atol=1e-5)
    assert torch.allclose(mine.bias, other.bias, atol=1e-5)


def test_other_parameters_as_adamw() -> None:
    mine, other = nn.Linear(6, 3), nn.Linear(6, 3)
    other.load_state_dict(mine.state_dict())
    optimizers = (
        Muon(mine.parameters(), lr=0.02, weight_decay=0.3),
        torch.optim.AdamW(other.parameters(), lr=0.02, weight_decay=0.3, betas=(0.9, 0.99)),
    )
    for network, optimizer in zip((mine, other), optimizers, strict=True):
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            optimizer.zero_grad()
            network(torch.rand(4, 6, generator=generator)).square().sum().backward()
            optimizer.step()
    for one, two in zip(mine.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_a_step_is_as_large_as_one_of_adamw() -> None:
    network = _convolution()
    before = network.weight.detach().clone()
    _descend(network, Muon(network.parameters(), lr=0.01, weight_decay=0.0), steps=1)
    change = (network.weight - before).square().mean().sqrt() / 0.01
    assert 0.1 < change < 0.3  # 0.2 times singular values between 0.7 and 1.2


def test_parameters_without_gradient_stay() -> None:
    network = _convolution()
    network.bias.requires_grad_(False)
    bias, weight = network.bias.clone(), network.weight.detach().clone()
    _descend(network, Muon(network.parameters()), steps=1)
    assert torch.equal(network.bias, bias)
    assert not torch.equal(network.weight, weight)


def test_state_is_kept_whole(tmp_path: Path) -> None:
    network = _convolution()
    optimizer = Muon(network.parameters(), lr=0.01)
    _descend(network, optimizer)
    save_state(tmp_path / "state", Stateful({"network": network}, {"optimizer": optimizer}), {})
    other = _convolution(seed=5)
    second = Muon(other.parameters(), lr=0.01)
    load_state(tmp_path / "state", Stateful({"network": other}, {"optimizer": second}))
    _descend(network, optimizer)
    _descend(other, second)
    assert torch.equal(network.weight, other.weight)
    assert torch.equal(network.bias, other.bias)
