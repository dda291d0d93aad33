from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import DataError
from core.rain.depth import ground_depth, read_depth


def test_ground_prior_is_a_level_plane_under_a_far_sky() -> None:
    depth = ground_depth(100, 7, horizon=0.4, far=30)
    assert depth.shape == (100, 7)
    assert depth.dtype == np.float32
    assert (np.diff(depth[:, 0]) <= 0).all()
    assert (depth[:40] == 30).all()
    # Row 90, its middle 0.505 of the height below the horizon, by similar triangles.
    assert depth[90, 3] == pytest.approx(1.5 * 1.2 / 0.505, rel=1e-5)
    assert (depth == depth[:, :1]).all()


def _read(folder: Path, metres: np.ndarray) -> np.ndarray:
    cv2.imwrite(str(folder / "d.png"), np.round(100 * metres).astype(np.uint16))
    return read_depth(folder / "d.png", *metres.shape)


def test_holes_take_the_depth_of_their_surroundings(tmp_path: Path) -> None:
    depth = np.full((40, 60), 5.0, np.float32)
    depth[:, 30:] = 20
    np.testing.assert_array_equal(_read(tmp_path, depth), depth)
    holes = np.ones(depth.shape, bool)
    holes[::3, ::3] = False  # sparse depth stays
    filled = _read(tmp_path, np.where(holes, 0, depth))
    np.testing.assert_array_equal(filled[~holes], depth[~holes])
    assert (filled >= 5 - 1e-4).all()
    assert (filled <= 20 + 1e-4).all()
    np.testing.assert_allclose(filled[:, :20], 5, atol=1e-4)
    np.testing.assert_allclose(filled[:, 40:], 20, atol=1e-4)


def test_specks_go(tmp_path: Path) -> None:
    depth = np.full((100, 100), 8.0, np.float32)
    depth[:, 60:] = 40
    wrong = depth.copy()
    wrong[50:52, 4:6] = 250
    wrong[20, 30] = 90
    np.testing.assert_allclose(_read(tmp_path, wrong), depth, rtol=1e-5)


def test_files_are_centimetres_and_take_the_size_of_the_picture(tmp_path: Path) -> None:
    levels = np.full((6, 8), 1250, np.uint16)
    levels[2, 2] = 0
    cv2.imwrite(str(tmp_path / "a.png"), levels)
    depth = read_depth(tmp_path / "a.png", 12, 10)
    assert depth.shape == (12, 10)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, 12.5, rtol=1e-5)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.png: no such file"):
        read_depth(tmp_path / "no.png", 4, 4)
    cv2.imwrite(str(tmp_path / "8.png"), np.ones((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"8\.png: depth must be one channel of uint16"):
        read_depth(tmp_path / "8.png", 4, 4)
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 4), np.uint16))
    with pytest.raises(DataError, match=r"0\.png: every pixel is 0"):
        read_depth(tmp_path / "0.png", 4, 4)
