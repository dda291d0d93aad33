"""Tiles cover a picture once, and put together they are what the whole picture gives."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime import Derainer
from edge_runtime import derainer as derainer_module
from edge_runtime.errors import UsageError
from edge_runtime.models.card import ModelCard
from edge_runtime.models.catalog import list_models
from edge_runtime.tiles import AT_ONCE, PEAKS, from_planes, least_work, plan_tiles, to_batch

Noise = Callable[..., NDArray[Any]]
RADIUS = 9


class _Blurs:
    """A session that looks as far as ``RADIUS``, on a grid of 4, with zeros beyond the border."""

    name = "blurs"
    provider = "test"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(batch.shape)
        return np.stack([_blurs(channel) for channel in batch[0]])[None]


def _blurs(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    near = cv2.blur(plane, (5, 5), borderType=cv2.BORDER_CONSTANT)  # 2 pixels
    height, width = plane.shape
    cells = near.reshape(height // 4, 4, width // 4, 4).mean(axis=(1, 3))  # 3, in a corner
    far = cv2.blur(cells, (3, 3), borderType=cv2.BORDER_CONSTANT)  # 4: one cell
    return np.repeat(np.repeat(far, 4, axis=0), 4, axis=1).astype(np.float32)


def _derainer(card: ModelCard, tile: int | None, halo: int = RADIUS) -> Derainer:
    card = dataclasses.replace(card, size_multiple=4, halo=halo)
    return Derainer(_Blurs(), card, Path("blurs.onnx"), tile)


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    side=st.integers(0, 40),
    halo=st.integers(0, 30),
    multiple=st.sampled_from([1, 2, 8, 16]),
)
def test_every_pixel_is_covered_once(
    height: int, width: int, side: int, halo: int, multiple: int
) -> None:
    covered = np.zeros((height, width), int)
    place = np.arange(height * width).reshape(height, width)
    for tile in plan_tiles(height, width, side, halo, multiple):
        covered[tile.target] += 1
        np.testing.assert_array_equal(place[tile.window][tile.inner], place[tile.target])
        for window, target, length in zip(tile.window, tile.target, (height, width), strict=True):
            assert window.start % multiple == 0
            assert window.stop % multiple == 0 or window.stop == length
            assert window.start <= max(target.start - halo, 0)
            assert window.stop >= min(target.stop + halo, length)
            assert not side or target.stop - target.start <= -(-side // multiple) * multiple
    assert (covered == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (40, 40), (41, 67), (100, 31), (63, 64)])
@pytest.mark.parametrize("tile", [1, 8, 20, 33])
def test_tiles_equal_the_whole(
    card: ModelCard, noise: Noise, size: tuple[int, int], tile: int
) -> None:
    image = noise(*size, 3)
    whole = _derainer(card, 0)(image)
    np.testing.assert_array_equal(_derainer(card, tile)(image), whole)
    np.testing.assert_array_equal(_derainer(card, tile)(image[..., 0]), whole[..., 0])


def test_a_halo_that_is_too_small_shows(card: ModelCard, noise: Noise) -> None:
    image = noise(80, 80, 3)
    assert (_derainer(card, 20, halo=4)(image) != _derainer(card, 0)(image)).any()


def test_large_pictures_are_tiled_by_themselves(
    card: ModelCard, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derainer_module, "WINDOW_PIXELS", 3000)
    small, large = noise(50, 60, 3), noise(51, 60, 3)
    for image, exact, tiled in ((small, True, False), (large, True, True), (large, False, False)):
        derainer = _derainer(dataclasses.replace(card, tiling_exact=exact), None)
        derainer(image)
        assert isinstance(derainer.session, _Blurs)
        assert (len(derainer.session.shapes) > 1) == tiled
        pixels = [shape[2] * shape[3] for shape in derainer.session.shapes]
        assert not tiled or max(pixels) <= 3000
        # One size in turn, largest first.
        assert pixels == sorted(pixels, reverse=True)


def test_windows_of_huge_pictures_grow_with_them(
    card: ModelCard, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derainer_module, "WINDOW_PIXELS", 3000)
    derainer = _derainer(card, None)
    derainer(noise(400, 400, 3))
    assert isinstance(derainer.session, _Blurs)
    assert 3000 < max(shape[2] * shape[3] for shape in derainer.session.shapes) <= 10_000
    bounded = Derainer(_Blurs(), derainer.card, Path("blurs.onnx"), window_pixels=2000)
    bounded(noise(400, 400, 3))
    assert isinstance(bounded.session, _Blurs)
    assert max(shape[2] * shape[3] for shape in bounded.session.shapes) <= 2000


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    pixels=st.integers(1, 10_000),
    halo=st.integers(0, 12),
    multiple=st.sampled_from([1, 4, 16]),
)
def test_the_least_work_within_so_many_pixels(
    height: int, width: int, pixels: int, halo: int, multiple: int
) -> None:
    def windows(side: int | tuple[int, int]) -> list[int]:
        """Return what the engine is given: windows extended to the size multiple."""
        areas = []
        for tile in plan_tiles(height, width, side, halo, multiple):
            sides = [window.stop - window.start for window in tile.window]
            tall, wide = (-(-length // multiple) * multiple for length in sides)
            areas.append(tall * wide)
        return areas

    found = windows(least_work(height, width, pixels, halo, multiple))
    smallest = (3 * (halo + multiple)) ** 2
    assert max(found) <= max(pixels, smallest)
    # No square tile that keeps to the same limit does with clearly less.
    squares = [windows(side) for side in range(multiple, 150, 2 * multiple + 8)]
    fitting = [sum(areas) for areas in squares if max(areas) <= pixels]
    if fitting and pixels > smallest:
        assert sum(found) <= 1.2 * min(fitting)


def test_a_negative_tile_is_refused(card: ModelCard, noise: Noise) -> None:
    with pytest.raises(UsageError, match="tile -8: must be 0"):
        _derainer(card, -8)(noise(9, 9, 3))


@pytest.mark.parametrize("path", [path for path, _ in list_models()], ids=lambda path: path.stem)
def test_shipped_models_tile_exactly(path: Path, noise: Noise) -> None:
    image = cv2.GaussianBlur(noise(210, 333, 3), (0, 0), 2)
    whole = Derainer.load(path, threads=1, tile=0)(image).astype(int)
    tiled = Derainer.load(path, threads=1, tile=64)(image).astype(int)
    assert np.abs(tiled - whole).max() <= 1
    assert (tiled != whole).mean() <= 1e-4


SIZES = [(1, 1), (1, 9), (7, 15), (40, 33)]


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
@pytest.mark.parametrize("at_once", [1, 100, AT_ONCE])
def test_from_planes(
    size: tuple[int, int], dtype: type, channels: tuple[int, ...], at_once: int
) -> None:
    wide = np.random.default_rng(1).uniform(-0.1, 1.1, (3, size[0] + 4, size[1] + 5))
    planes = wide.astype(np.float32)[:, 1:-3, 2:-3]
    unit = planes.transpose(1, 2, 0) if channels else planes.mean(axis=0)
    expected = np.clip(unit, 0, 1)
    if dtype is not np.float32:
        expected = np.floor(expected * np.float32(PEAKS[np.dtype(dtype)]) + np.float32(0.5))
    canvas = np.zeros((size[0] + 2, size[1] + 2, *channels), dtype)
    before = planes.copy()
    from_planes(planes, canvas[1:-1, 1:-1], at_once)
    np.testing.assert_array_equal(canvas[1:-1, 1:-1], expected)
    np.testing.assert_array_equal(planes, before)
    canvas[1:-1, 1:-1] = 0
    assert not canvas.any()  # nothing beside it was touched
