from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.pictures.compare import compare, difference
from edge_runtime.pictures.picture import Picture

Noise = Callable[..., NDArray[np.generic]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compare_has_rainy_left_and_derained_right(noise: Noise, dtype: type) -> None:
    rainy = Picture(noise(5, 900, 3, dtype=dtype), noise(5, 900, dtype=dtype))
    derained = Picture(noise(5, 900, 3, dtype=dtype, seed=1), rainy.alpha, quality=70)
    both = compare(rainy, derained)
    np.testing.assert_array_equal(both.rgb[:, :900], rainy.rgb)
    np.testing.assert_array_equal(both.rgb[:, -900:], derained.rgb)
    assert both.rgb.shape == (5, 1803, 3)
    peak = np.iinfo(dtype).max
    assert (both.rgb[:, 900:903] == peak).all()
    assert both.alpha is not None
    assert (both.alpha[:, 900:903] == peak).all()
    assert both.quality == 70


def test_difference_is_what_was_brighter_before() -> None:
    rainy = Picture(np.array([[[200, 10, 7]]], np.uint8))
    derained = Picture(np.array([[[150, 30, 7]]], np.uint8))
    assert difference(rainy, derained).rgb.tolist() == [[[50, 0, 0]]]
