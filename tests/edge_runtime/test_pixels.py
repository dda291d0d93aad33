"""Conversions against plain numpy on whole arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime import pixels
from edge_runtime.pixels import PEAKS, from_planes, to_batch

Noise = Callable[..., NDArray[Any]]
SIZES = [(1, 1), (1, 9), (7, 15), (40, 33)]


@pytest.fixture(autouse=True, params=[1, 100, 1 << 15])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_AT_ONCE", request.param)


def _image(noise: Noise, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    if dtype is np.float32:
        return np.random.default_rng(0).random(shape, np.float32)
    return noise(*shape, dtype=dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_to_batch(
    noise: Noise, size: tuple[int, int], dtype: type, channels: tuple[int, ...]
) -> None:
    image = _image(noise, (*size, *channels), dtype)
    unit = np.atleast_3d(image).astype(np.float32) / np.float32(PEAKS[image.dtype])
    bottom, right = -size[0] % 8, -size[1] % 8
    padded = np.pad(unit, ((0, bottom), (0, right), (0, 0)), mode="edge").transpose(2, 0, 1)
    expected = np.broadcast_to(padded, (3, *padded.shape[1:]))[None]
    for memory in (None, np.full(5, np.nan, np.float32), np.full(10**5, np.nan, np.float32)):
        batch = to_batch(image, 8, memory)
        np.testing.assert_array_equal(batch, expected)
        assert (batch.dtype, batch.flags["C_CONTIGUOUS"]) == (np.float32, True)
        assert memory is None or np.shares_memory(batch, memory) == (memory.size > 5)


def test_windows_and_views(noise: Noise) -> None:
    whole = noise(60, 70, 3)
    for image in (whole[5:40, 9:50], whole[::-2, ::3], whole[..., ::-1]):
        np.testing.assert_array_equal(to_batch(image, 4), to_batch(image.copy(), 4))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_from_planes(size: tuple[int, int], dtype: type, channels: tuple[int, ...]) -> None:
    wide = np.random.default_rng(1).uniform(-0.1, 1.1, (3, size[0] + 4, size[1] + 5))
    planes = wide.astype(np.float32)[:, 1:-3, 2:-3]
    unit = planes.transpose(1, 2, 0) if channels else planes.mean(axis=0)
    expected = np.clip(unit, 0, 1)
    if dtype is not np.float32:
        expected = np.floor(expected * np.float32(PEAKS[np.dtype(dtype)]) + np.float32(0.5))
    canvas = np.zeros((size[0] + 2, size[1] + 2, *channels), dtype)
    before = planes.copy()
    from_planes(planes, canvas[1:-1, 1:-1])
    np.testing.assert_array_equal(canvas[1:-1, 1:-1], expected)
    np.testing.assert_array_equal(planes, before)
    canvas[1:-1, 1:-1] = 0
    assert not canvas.any()  # nothing beside it was touched
