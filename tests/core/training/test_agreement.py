"""Channel agreement by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from core.training.agreement import channel_agreement


def pixels(*colours: tuple[float, float, float]) -> NDArray[np.float64]:
    """A picture of one row."""
    return np.array([colours])


def test_the_largest_channel_counts() -> None:
    clean = pixels((0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9), (0.2, 0.5, 0.4))
    derained = pixels((0.3, 0.2, 0.1), (0.1, 0.2, 0.3), (0.0, 0.0, 0.1), (0.2, 0.4, 0.5))
    assert channel_agreement(derained, clean) == 0.5


def test_brightness_does_not_count() -> None:
    clean = np.random.default_rng(0).integers(0, 128, (5, 7, 3), np.uint8) * 2
    assert channel_agreement(clean // 2, clean) == 1


@pytest.mark.parametrize(("colour", "agreement"), [((1, 0, 0), 1), ((0, 1, 0), 0), ((0, 0, 1), 0)])
def test_grey_agrees_with_red(colour: tuple[float, float, float], agreement: int) -> None:
    assert channel_agreement(pixels(colour), np.full((1, 1, 3), 0.5)) == agreement
