from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.steady import Steadier

Noise = Callable[..., NDArray[Any]]


def _flickering(count: int = 12) -> list[NDArray[np.uint8]]:
    """Return a still picture with other thin bright streaks in every frame."""
    generator = np.random.default_rng(0)
    still = generator.integers(60, 160, (12, 16, 3)).repeat(8, 0).repeat(8, 1)
    frames = []
    for _ in range(count):
        frame = still.copy()
        for row, column in generator.integers(0, (90, 128), (40, 2)):
            frame[row : row + 6, column] += 20
        frames.append(frame.astype(np.uint8))
    return frames


def test_flicker_of_a_still_picture_falls_by_half() -> None:
    frames = _flickering()
    steadier = Steadier()
    steadied = [steadier(frame) for frame in frames]

    def flicker(pictures: list[NDArray[Any]]) -> float:
        return float(np.abs(np.diff(np.asarray(pictures[3:], np.float32), axis=0)).mean())

    assert flicker(steadied) < 0.5 * flicker(frames)


def test_what_moves_stays_as_it_is() -> None:
    background = np.full((96, 128, 3), 100, np.uint8)
    steadier = Steadier()
    for step in range(8):
        frame = background.copy()
        frame[20:60, 10 + 8 * step : 50 + 8 * step] = np.arange(40).repeat(3).reshape(40, 3) * 5
        steadied = steadier(frame)
        np.testing.assert_array_equal(
            steadied[20:60, 10 + 8 * step : 50 + 8 * step],
            frame[20:60, 10 + 8 * step : 50 + 8 * step],
        )


def test_detail_beside_what_moves_stays_as_it_is() -> None:
    steadier = Steadier()
    for step in range(6):
        frame = np.full((96, 128, 3), 100, np.uint8)
        frame[40:80, 10 + 8 * step : 50 + 8 * step] = 200 - 100 * (step % 2)
        frame[34, 30:90] = 110 + 10 * (step % 2)
        steadied = steadier(frame)
        np.testing.assert_array_equal(
            steadied[34, 20 + 8 * step : 40 + 8 * step], frame[34, 20 + 8 * step : 40 + 8 * step]
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50), (1, 1, 3), (3, 2, 3)])
def test_a_cut_and_a_first_frame_pass_through(
    noise: Noise, dtype: type, shape: tuple[int, ...]
) -> None:
    def scale(value: int) -> NDArray[Any]:
        peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
        return np.full(shape, value / 255 * peak, dtype)

    steadier = Steadier()
    for frame in (scale(51), scale(204), scale(51)):
        before = frame.copy()
        steadied = steadier(frame)
        np.testing.assert_array_equal(steadied, before)
        assert steadied.dtype == dtype
        assert not np.shares_memory(steadied, frame)


def test_an_unchanged_picture_stays_to_the_level(noise: Noise) -> None:
    frame, steadier = noise(33, 47, 3), Steadier()
    for _ in range(20):
        np.testing.assert_array_equal(steadier(frame), frame)


def test_depths_agree() -> None:
    small, large, unit = Steadier(), Steadier(), Steadier()
    for frame in _flickering(4):
        expected = small(frame).astype(float)
        assert np.abs(large(frame.astype(np.uint16) * 257) / 257 - expected).max() < 0.51
        assert np.abs(unit(frame.astype(np.float32) / 255) * 255 - expected).max() < 0.51


def test_results_may_be_changed_by_who_gets_them() -> None:
    steadier, other = Steadier(), Steadier()
    for frame in _flickering(3):
        unit = frame.astype(np.float32) / 255
        expected = other(unit)
        found = steadier(unit)
        np.testing.assert_array_equal(found, expected)
        found[:] = 0


def test_another_size_begins_anew(noise: Noise) -> None:
    steadier = Steadier()
    steadier(noise(20, 20, 3))
    frame = noise(24, 16, 3, seed=1)
    np.testing.assert_array_equal(steadier(frame), frame)
