import numpy as np
import pytest

from core.rain.camera import jpeg, photograph
from core.rain.compose import lay_overcast, lay_streaks, lay_veil, transmission, visible
from core.rain.scene import Camera

PICTURE = np.array([[[0.0, 0.4, 0.9]]], np.float32)


def test_transmission_is_exponential_in_depth() -> None:
    depth = np.array([[0.0, 10.0, 100.0]], np.float32)
    np.testing.assert_allclose(transmission(depth, 0.02), np.exp([[0, -0.2, -2]]), rtol=1e-6)
    assert (transmission(depth, 0.0) == 1).all()


def test_veil_by_hand() -> None:
    through = np.array([[0.25]], np.float32)
    veiled = lay_veil(PICTURE, through, (0.8, 0.8, 0.6))
    np.testing.assert_allclose(veiled, [[[0.6, 0.1 + 0.6, 0.225 + 0.45]]], rtol=1e-6)


def test_streaks_by_hand_with_clipping() -> None:
    streaks = np.array([[0.5]], np.float32)
    np.testing.assert_allclose(lay_streaks(PICTURE, streaks, False), [[[0.5, 0.9, 1.0]]])
    np.testing.assert_allclose(lay_streaks(PICTURE, streaks, True), [[[0.5, 0.7, 0.95]]], rtol=1e-6)
    np.testing.assert_array_equal(lay_streaks(PICTURE, streaks * 9, True), np.ones((1, 1, 3)))


def test_nearer_things_hide_a_layer() -> None:
    depth = np.array([[1.0, 8.9, 10.0, 11.1, 50.0]], np.float32)
    np.testing.assert_allclose(visible(depth, 10.0), [[0, 0, 0.5, 1, 1]], atol=1e-6)


def test_overcast_darkens_and_flattens() -> None:
    mean = PICTURE.mean()
    np.testing.assert_allclose(lay_overcast(PICTURE, 0.2), 0.8 * (PICTURE + 0.2 * mean), rtol=1e-6)
    assert lay_overcast(PICTURE, 0.0) is PICTURE
    assert np.ptp(lay_overcast(PICTURE, 0.2)) == pytest.approx(0.8 * np.ptp(PICTURE))


def test_noise_has_the_stated_variance() -> None:
    grey = np.full((200, 200, 3), 0.5, np.float32)
    noisy = photograph(grey, Camera(photons=200.0, read_noise=4.0), np.random.default_rng(0))
    wanted = 255**2 * 0.5 / 200 + 4.0**2 + 1 / 12
    assert noisy.astype(float).var() == pytest.approx(wanted, rel=0.03)
    assert noisy.mean() == pytest.approx(127.5, abs=0.2)


def test_an_absent_camera_rounds() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(photograph(levels / np.float32(255), Camera(), rng), levels)
    assert rng.random() == np.random.default_rng(0).random()


def test_jpeg_keeps_colours_and_loses_detail(picture) -> None:
    soft = picture(64, 48)
    for quality, most in ((95, 3), (20, 12)):
        assert np.abs(jpeg(soft, quality).astype(int) - soft).mean() < most
    assert (jpeg(soft, 20) != soft).any()


def test_defocus_blurs() -> None:
    edge = np.zeros((9, 9, 3), np.float32)
    edge[:, 5:] = 1
    blurred = photograph(edge, Camera(blur=0.6), np.random.default_rng(0))
    assert 0 < blurred[4, 4, 0] < blurred[4, 5, 0] < 255
