import sys

import numpy as np
import pytest

from core.strip import Cell, strip
from edge_runtime.errors import MissingExtraError


def _flat(height: int, width: int, *colour: int) -> Cell:
    return Cell(np.full((height, width, 3), colour, np.uint8), "20.00 dB")


def test_every_picture_lies_in_its_place_pixel_by_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 90, 3), np.uint8)
    rows = [[Cell(noise), _flat(30, 90, 1, 2, 3)], [_flat(20, 90, 4, 5, 6), _flat(20, 90, 7, 8, 9)]]
    sheet = strip(["a", "b"], rows, width=90)
    assert sheet.dtype == np.uint8
    places = {}
    for name, colour in (("b0", (1, 2, 3)), ("a1", (4, 5, 6)), ("b1", (7, 8, 9))):
        down, across = np.nonzero((sheet == colour).all(axis=2))
        places[name] = (down.min(), across.min())
        assert len(down) == 90 * (30 if name == "b0" else 20)
    (top, right), (below, left) = places["b0"], places["a1"]
    assert places["b1"] == (below, right)
    np.testing.assert_array_equal(sheet[top : top + 30, left : left + 90], noise)
    assert sheet.shape[1] == right + 90 + left
    assert (sheet[:, :left] == 255).all()


def test_headings_and_captions_are_written() -> None:
    bare = strip(["", ""], [[Cell(_flat(9, 60, 0, 0, 0).image)] * 2], 60)
    written = strip(["rainy", ""], [[_flat(9, 60, 0, 0, 0), Cell(_flat(9, 60, 0, 0, 0).image)]], 60)
    changed = (bare != written).any(axis=2)
    down, across = np.nonzero(changed)
    top = int(np.argmax((bare == 0).all(axis=2).any(axis=1)))
    assert (down < top).any()
    assert (down > top + 9).any()
    assert across.max() < bare.shape[1] // 2  # nothing over the other column


def test_pictures_are_scaled_to_the_column() -> None:
    sheet = strip(["a", "b"], [[_flat(40, 80, 9, 9, 9), _flat(10, 20, 8, 8, 8)]], 40)
    for colour in (9, 8):
        down, across = np.nonzero((sheet == colour).all(axis=2))
        assert (np.ptp(down) + 1, np.ptp(across) + 1) == (20, 40)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"edge-derain\[report\]"):
        strip(["a"], [[_flat(4, 4, 0, 0, 0)]])
