from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError
from core.rain.real import borrow_rain, cut_streaks, filmed_streaks, mix_streaks, read_masks
from edge_runtime.pictures.picture import Picture, write_picture

RAMP = np.tile(np.arange(0, 240, 2, np.uint8), (120, 1))


def test_streak_pictures_are_zoomed_mirrored_and_cut_anywhere() -> None:
    pieces = [cut_streaks(RAMP, 20, 30, np.random.default_rng(seed)) * 255 for seed in range(60)]
    steps = np.array([np.diff(piece[5]).mean() for piece in pieces])
    assert 2 / 1.4 - 0.05 < np.abs(steps).min() < 1.7  # a ramp of 2 a column, zoomed
    assert 2.8 < np.abs(steps).max() < 2 / 0.6 + 0.05
    assert 0.3 < (steps < 0).mean() < 0.7
    places = [piece.mean() for piece in pieces]
    assert min(places) < 60
    assert max(places) > 180
    assert all((piece[0] == piece[-1]).all() for piece in pieces)  # neither turned nor sheared
    small = cut_streaks(RAMP[:, :10], 33, 35, np.random.default_rng(0))  # enlarged to cover it
    assert small.shape == (33, 35)
    assert np.diff(small[5]).min() >= 0 or np.diff(small[5]).max() <= 0


def test_turned_and_sheared_pieces_lean() -> None:
    rngs = map(np.random.default_rng, range(60))
    pieces = [cut_streaks(RAMP, 20, 20, rng, turned=True) * 255 for rng in rngs]
    lean = [np.diff(piece, axis=0).mean() / np.diff(piece, axis=1).mean() for piece in pieces]
    assert 0.1 < np.std(lean) < 0.25
    assert np.mean(lean) == pytest.approx(0, abs=0.06)


def test_rains_are_mixed_by_weights_that_add_up_to_one() -> None:
    masks = [np.full((40, 40), level, np.uint8) for level in (100, 200)]
    rngs = map(np.random.default_rng, range(40))
    found = [float(mix_streaks(masks, 9, 8, rng).mean()) * 255 for rng in rngs]
    assert min(found) == pytest.approx(100)
    assert max(found) == pytest.approx(200)
    assert sum(101 < level < 199 for level in found) > 10


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_masks(tmp_path / "none")


def test_filmed_streaks_are_bright_grey_long_and_thin(tmp_path: Path) -> None:
    derained = np.full((60, 80, 3), 90, np.uint8)
    rainy = derained.copy()
    rainy[5:45, 10:13] += 50  # a streak
    rainy[5:45, 20:23] -= 50  # dark
    rainy[5:45, 30:33, 0] += 50  # red
    rainy[5:45, 45:70] += 50  # broad
    rainy[50:53, 5:35] += 50  # level
    rainy[52:54, 50:52] += 50  # a dot
    rainy[5:45, 75:78] += 5  # too faint
    streaks = filmed_streaks(rainy, derained)
    wanted = np.zeros((60, 80), np.uint8)
    wanted[5:45, 10:13] = 50
    np.testing.assert_array_equal(streaks, wanted)
    assert not filmed_streaks(derained, derained).any()
    for name, frame in (("rainy", rainy), ("derained", derained)):
        (tmp_path / name).mkdir()
        write_picture(tmp_path / name / "7.png", Picture(frame))
    np.testing.assert_array_equal(read_masks(tmp_path)[0], streaks)


def _flat(level: int) -> np.ndarray:
    return np.full((2, 3, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("clean", "rainy", "lender", "screen", "wanted"),
    [
        (100, 90, 50, False, 140),
        (230, 90, 50, False, 255),  # clipped at white
        (10, 20, 50, False, 0),  # a lender that darkens, clipped at black
        (155, 105, 55, True, 180),  # a quarter of the way to white
        (255, 105, 55, True, 255),  # white shows no rain
        (55, 255, 235, True, 138),  # a bright lender counts as if it had 48 levels of room
    ],
)
def test_borrowed_rain_by_hand(
    clean: int, rainy: int, lender: int, screen: bool, wanted: int
) -> None:
    result = borrow_rain(_flat(clean), _flat(rainy), _flat(lender), screen)
    assert result.dtype == np.uint8
    assert np.array_equal(result, _flat(wanted))


@pytest.mark.parametrize("screen", [False, True])
def test_a_dry_lender_lends_nothing(screen: bool) -> None:
    clean, lender = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 3), dtype=np.uint8)
    assert np.array_equal(borrow_rain(clean, lender, lender, screen), clean)


def test_screened_on_its_own_background_it_is_the_rainy_picture() -> None:
    rng = np.random.default_rng(1)
    clean = rng.integers(0, 200, (9, 8, 3), dtype=np.uint8)
    rainy = clean + rng.integers(0, 55, clean.shape, dtype=np.uint8)
    assert np.array_equal(borrow_rain(clean, rainy, clean, screen=True), rainy)
