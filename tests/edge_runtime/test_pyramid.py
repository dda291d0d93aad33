from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime import Derainer
from edge_runtime.errors import UsageError
from edge_runtime.metrics import psnr
from edge_runtime.pyramid import Change, Scale, passes, shrink

SaveModel = Callable[..., Path]
DTYPES = [np.uint8, np.uint16, np.float32]


def _noise(*shape: int, dtype: type = np.uint8) -> NDArray[Any]:
    values = np.random.default_rng(0).random(shape, np.float32)
    return values if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)


def _whole(image: NDArray[Any]) -> tuple[slice, slice]:
    return slice(0, image.shape[0]), slice(0, image.shape[1])


@pytest.mark.parametrize(
    ("scale", "size", "expected"),
    [
        (1, (9000, 9000), (1,)),
        (2, (3, 4), (2, 1)),
        (8, (300, 400), (8, 4)),
        ("auto", (1, 1), (1,)),
        ("auto", (1200, 1799), (1,)),
        ("auto", (1080, 1800), (2, 1)),
        ("auto", (4000, 3000), (4, 2)),
        ("auto", (100, 10_000), (8, 4)),
        ("auto", (20_000, 20_000), (16, 8)),
    ],
)
def test_rain_is_looked_for_coarse_to_fine(
    scale: Any, size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert passes(scale, *size) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("factor", [2, 4])
def test_shrinking_takes_means_of_squares(
    dtype: type, channels: tuple[int, ...], factor: int
) -> None:
    image = _noise(133 * factor - 1, 9 * factor - 1, *channels, dtype=dtype)
    small = shrink(image, factor)
    edges = [(0, 1), (0, 1), (0, 0)][: image.ndim]
    squares = np.pad(image.astype(float), edges, "edge").reshape(133, factor, 9, factor, *channels)
    means = squares.mean(axis=(1, 3))
    if dtype == np.float32:
        np.testing.assert_allclose(small, means, atol=1e-6)
    else:
        assert small.dtype == np.uint16
        np.testing.assert_allclose(small, means * (257 if dtype == np.uint8 else 1), atol=0.51)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 7, 3), (150, 70), (301, 157, 3)])
@pytest.mark.parametrize("factor", [2, 8])
def test_a_window_is_that_of_the_whole(dtype: type, shape: tuple[int, ...], factor: int) -> None:
    image = _noise(*shape, dtype=dtype)
    small = shrink(image, factor)
    change = Change(small, (small * 0.6).astype(small.dtype))
    whole = change.done_to(image, factor, _whole(image))
    assert whole.dtype == dtype
    random = np.random.default_rng(0)
    for _ in range(20):
        top, left = random.integers(shape[0]), random.integers(shape[1])
        window = (
            slice(top, random.integers(top, shape[0]) + 1),
            slice(left, random.integers(left, shape[1]) + 1),
        )
        np.testing.assert_allclose(change.done_to(image, factor, window), whole[window], 0, 1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_change_changes_nothing_and_an_even_one_is_added_and_clipped(dtype: type) -> None:
    image = _noise(40, 50, 3, dtype=dtype)
    small = shrink(image, 4)
    np.testing.assert_array_equal(Change(small, small).done_to(image, 4, _whole(image)), image)
    dark = np.full_like(small, 13106)
    lighter = Change(np.zeros_like(dark), dark).done_to(image, 4, _whole(image))
    peak = np.iinfo(dtype).max
    np.testing.assert_array_equal(
        lighter, np.minimum(image.astype(int) + round(13106 * peak / 65535), peak)
    )


def test_what_is_enlarged_lies_where_it_was() -> None:
    small = shrink(np.zeros((64, 96), np.float32), 4)
    after = small.copy()
    after[5, 17] = 1
    added = Change(small, after).done_to(
        np.zeros((64, 96), np.float32), 4, (slice(0, 64), slice(0, 96))
    )
    rows, columns = np.mgrid[:64, :96]
    assert (added * rows).sum() / added.sum() == pytest.approx(5.5 * 4 - 0.5, abs=0.05)
    assert (added * columns).sum() / added.sum() == pytest.approx(17.5 * 4 - 0.5, abs=0.05)


class _Shapes:
    """A session that notes the sizes that it is asked for, and darkens by a tenth."""

    name = "shapes"
    provider = "test"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.sizes.append(batch.shape[2:])
        return batch * np.float32(0.9)


@pytest.mark.parametrize(
    ("scale", "sizes", "left"),
    [(1, [(64, 96)], 0.9), (2, [(32, 48), (64, 96)], 0.81), (4, [(16, 24), (32, 48)], 0.81)],
)
def test_each_pass_begins_with_what_the_one_before_found(
    save_model: SaveModel, scale: int, sizes: list[tuple[int, ...]], left: float
) -> None:
    derainer = Derainer.load(save_model(), threads=1, scale=scale)  # type: ignore[arg-type]
    session = _Shapes()
    image = np.full((64, 96, 3), 0.5, np.float32)
    derained = derainer.with_session(session)(image)
    assert session.sizes == sizes
    np.testing.assert_allclose(derained, image * left, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_tiles_give_the_whole_result_at_every_scale(dtype: type) -> None:
    rainy = cv2.GaussianBlur(_noise(400, 520, 3, dtype=dtype), (0, 0), 1.5)
    whole = Derainer.load("nano_fp32", threads=1, tile=0, scale=2)(rainy)
    tiled = Derainer.load("nano_fp32", threads=1, tile=64, scale=2)(rainy)
    if dtype == np.float32:
        np.testing.assert_allclose(tiled, whole, atol=1e-5)
    else:
        wrong = tiled.astype(int) - whole
        assert np.abs(wrong).max() <= 1
        assert (wrong != 0).mean() <= 1e-4


def test_enlarged_rain_is_found_at_its_scale_or_by_who_learned_it() -> None:
    folder = Path(__file__).parents[2] / "edge_runtime/reference"
    rainy, clean = (
        cv2.imread(str(sorted((folder / part / "heavy").iterdir())[0]))[:160, :160]
        for part in ("rainy", "clean")
    )
    large = [
        cv2.resize(each, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for each in (rainy, clean)
    ]
    before = psnr(large[0], large[1])

    def gain(model: str, scale: Scale) -> float:
        return psnr(Derainer.load(model, threads=1, scale=scale)(large[0]), large[1]) - before

    assert gain("nano", 4) > gain("nano", 1) + 3  # it never saw enlarged pictures
    for model in ("small", "base"):
        assert gain(model, 1) > 3
        assert gain(model, 4) > 3


def test_a_scale_that_there_is_not_is_refused(save_model: SaveModel) -> None:
    with pytest.raises(UsageError, match="scale 3: must be 1, 2, 4, 8, 16 or 'auto'"):
        Derainer.load(save_model(), scale=3)
