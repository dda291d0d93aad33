import numpy as np
import pytest

from core.rain.borrowed import borrow_rain


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
def test_closed_forms(clean: int, rainy: int, lender: int, screen: bool, wanted: int) -> None:
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
