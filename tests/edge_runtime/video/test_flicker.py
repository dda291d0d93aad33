import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import MetricError
from edge_runtime.metrics import luma
from edge_runtime.video.flicker import measure_flicker

Noise = Callable[..., NDArray[Any]]


def _grey(level: float, *shape: int) -> NDArray[np.uint8]:
    return np.full((*(shape or (40, 60)), 3), level, np.uint8)


def test_a_still_video_does_not_flicker(noise: Noise) -> None:
    found = measure_flicker([noise(40, 60, 3)] * 3)
    assert (found.flicker, found.static_share) == (0.0, 1.0)
    assert math.isnan(found.moving_sharpness)


def test_flicker_is_the_mean_change_of_luma() -> None:
    first, second = _grey(100), _grey(104)
    expected = float(np.abs(luma(first) - luma(second)).mean())
    found = measure_flicker([first, second, first], [first] * 3)
    assert found.flicker == pytest.approx(expected)
    assert found.flicker == pytest.approx(4 * 219 / 255)
    assert found.static_share == 1


def test_small_flicker_counts_although_it_moves_nothing() -> None:
    first = _grey(100)
    second = first.copy()
    second[20, 30] = 130  # under the blur this is 30 / (2 pi 16) = 0.3 levels
    found = measure_flicker([first, second])
    assert found.static_share == 1
    assert found.flicker == pytest.approx(30 * 219 / 255 / first[..., 0].size)


def test_motion_is_left_out_and_its_sharpness_measured() -> None:
    first, second = _grey(100, 200, 200), _grey(100, 200, 200)
    for column in range(80, 120, 8):
        second[80:120, column : column + 4] = 200
    found = measure_flicker([first, second])
    assert found.flicker < 0.05
    assert 0.8 < found.static_share < 0.97
    blurred = second.copy()
    blurred[80:120, 80:120] = 150
    reference = [first, second]
    sharp = measure_flicker([first, second], reference).moving_sharpness
    assert measure_flicker([first, blurred], reference).moving_sharpness < sharp / 1.5


def test_a_ramp_has_the_gradient_of_its_slope() -> None:
    ramp = np.repeat(np.arange(60, dtype=np.uint8)[None, :, None] * 4, 40, 0).repeat(3, 2)
    found = measure_flicker([_grey(0), ramp], [_grey(0), _grey(255)])
    # Sobel over a slope of 4 levels a pixel; the outermost columns see a mirrored border.
    assert found.moving_sharpness == pytest.approx(4 * 219 / 255 * 58 / 60)
    assert math.isnan(found.flicker)


@pytest.mark.parametrize(
    ("frames", "reference", "message"),
    [
        ([], None, "at least two frames"),
        ([_grey(0)], None, "at least two frames"),
        ([_grey(0), _grey(0, 30, 30)], None, "must have one shape"),
        ([_grey(0)] * 2, [_grey(0)], "differ in number"),
        ([_grey(0)] * 2, [_grey(0, 30, 30)] * 2, "a frame and its reference"),
        ([_grey(0).astype(float)] * 2, None, "uint8"),
    ],
)
def test_clear_errors(frames: list[Any], reference: list[Any] | None, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        measure_flicker(frames, reference)
