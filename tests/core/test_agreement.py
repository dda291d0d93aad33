"""Channel agreement by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.agreement import channel_agreement


def pixels(*colours: tuple[float, float, float]) -> Tensor:
    """A picture of one row."""
    return torch.tensor(colours).T[None, :, None, :]


def test_the_largest_channel_counts() -> None:
    clean = pixels((0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9), (0.2, 0.5, 0.4))
    derained = pixels((0.3, 0.2, 0.1), (0.1, 0.2, 0.3), (0.0, 0.0, 0.1), (0.2, 0.4, 0.5))
    assert float(channel_agreement(derained, clean)) == 0.5


def test_brightness_does_not_count() -> None:
    clean = torch.rand(2, 3, 5, 7)
    assert float(channel_agreement(clean / 2, clean)) == 1


@pytest.mark.parametrize(("colour", "agreement"), [((1, 0, 0), 1), ((0, 1, 0), 0), ((0, 0, 1), 0)])
def test_grey_agrees_with_red(colour: tuple[float, float, float], agreement: int) -> None:
    grey = torch.full((1, 3, 1, 1), 0.5)
    assert float(channel_agreement(pixels(colour), grey)) == agreement
