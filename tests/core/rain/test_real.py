from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import DataError
from core.rain.real import borrow_rain, cut_mask, filmed_streaks, read_masks
from core.rain.scene import MaskLayer
from edge_runtime.pictures.picture import Picture, write_picture


def _mask(**changes: object) -> MaskLayer:
    values = {"strength": 1.0, "scale": 1.0, "top": 0.0, "left": 0.0, "mirrored": False}
    return MaskLayer("a", **(values | changes))


def test_streak_pictures_are_cut(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 200, 10, np.uint8), (10, 1))
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    masks = read_masks(tmp_path)
    whole = cut_mask(_mask(strength=0.5), masks, 10, 20)
    np.testing.assert_allclose(whole * 255, ramp / 2, atol=1e-4)
    mirrored = cut_mask(_mask(left=1 - 1e-9, mirrored=True), masks, 4, 5)
    np.testing.assert_allclose(mirrored[0] * 255, ramp[0, :14:-1], rtol=1e-5)
    large = cut_mask(_mask(scale=2.0), masks, 10, 20)  # a ramp half as steep
    np.testing.assert_allclose(np.diff(large[5, 2:18]) * 255, 5, atol=1.1)
    assert cut_mask(_mask(scale=0.5), masks, 33, 35).shape == (33, 35)
    turned = cut_mask(_mask(turn=90.0), masks, 8, 8)  # now it is a ramp of rows
    assert np.ptp(turned[:, 3]) > 10 * np.ptp(turned[3, :])
    sheared = cut_mask(_mask(shear=0.5), masks, 8, 8) * 255
    np.testing.assert_allclose(np.diff(sheared[:, 4]), 5, atol=1.1)
    with pytest.raises(DataError, match="streak picture 'a' is not there"):
        cut_mask(_mask(), {}, 4, 4)
    with pytest.raises(DataError, match="no such folder"):
        read_masks(tmp_path / "none")


def test_a_piece_is_another_in_every_frame() -> None:
    masks = {"a": np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)}
    first, second = (cut_mask(_mask(), masks, 9, 9, frame) for frame in (0, 1))
    assert (first != second).any()


def test_filmed_streaks_are_bright_thin_and_grey(tmp_path: Path) -> None:
    derained = np.full((60, 80, 3), 90, np.uint8)
    rainy = derained.copy()
    rainy[5:45, 10:13] += 50  # a streak
    rainy[5:45, 20:23] -= 50  # dark
    rainy[5:45, 30:33, 0] += 50  # red
    rainy[5:45, 45:70] += 50  # broad
    streaks = filmed_streaks(rainy, derained)
    wanted = np.zeros((60, 40), np.uint8)
    wanted[5:45, 10:13] = 50
    np.testing.assert_array_equal(streaks[:, :40], wanted)
    assert (streaks[:, 40:] > 0).mean() < 0.02  # corners of the broad
    for name, frame in (("rainy", rainy), ("derained", derained)):
        (tmp_path / name).mkdir()
        write_picture(tmp_path / name / "7.png", Picture(frame))
    np.testing.assert_array_equal(read_masks(tmp_path)["7"], streaks)


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
