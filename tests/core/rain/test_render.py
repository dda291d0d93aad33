from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import DataError
from core.rain.depth import ground_depth
from core.rain.render import (
    jpeg,
    lay_overcast,
    lay_streaks,
    lay_veil,
    photograph,
    render,
    transmission,
    visible,
)
from core.rain.scene import PRESETS, Camera, MaskLayer, RainScene, StreakLayer, draw_scene
from core.rain.streaks import cut_mask, read_masks

LAYER = StreakLayer(2, 0.01, 10, 2, 20, 0.8, 0.6)
MASK = MaskLayer("a", strength=0.5, scale=1.0, top=0.0, left=0.0, mirrored=False)


def test_a_rain_is_a_function_of_its_arguments(picture) -> None:
    clean = picture(60, 70)
    scene = draw_scene(PRESETS["heavy"], np.random.default_rng(1))
    first = render(clean, scene)
    np.random.default_rng().random()
    render(clean, dataclasses.replace(scene, seed=scene.seed + 1))
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        again = render(clean, scene)
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(first.rainy, again.rainy)
    np.testing.assert_array_equal(first.streaks, again.streaks)
    other = render(clean, dataclasses.replace(scene, seed=scene.seed + 1))
    assert (other.rainy != first.rainy).any()


def test_no_rain_changes_nothing(picture) -> None:
    clean = picture(20, 30)
    rendered = render(clean, RainScene(seed=0))
    np.testing.assert_array_equal(rendered.rainy, clean)
    assert not rendered.streaks.any()
    assert (rendered.transmission == 1).all()


def test_additive_rain_is_clean_plus_streaks(picture) -> None:
    clean = picture(50, 40)
    rendered = render(clean, RainScene(seed=3, layers=(LAYER,)))
    wanted = np.minimum(clean + rendered.streaks[..., None].astype(int), 255)
    assert np.abs(rendered.rainy - wanted).max() <= 1
    assert rendered.streaks.any()


def test_the_veil_grows_with_depth(picture) -> None:
    clean = picture(40, 30)
    scene = RainScene(seed=0, extinction=0.05, airlight=(0.7, 0.7, 0.7))
    near, far = (render(clean, scene, np.full((40, 30), d, np.float32)) for d in (5, 50))
    grey = 0.7 * 255
    assert np.abs(far.rainy - grey).mean() < 0.2 * np.abs(near.rainy - grey).mean()
    np.testing.assert_allclose(far.transmission, np.exp(-2.5), rtol=1e-5)
    prior = render(clean, scene).transmission[:, 0]
    assert (np.diff(prior) >= 0).all()
    np.testing.assert_allclose(
        prior, np.exp(-0.05 * ground_depth(40, 1, scene.horizon, scene.far)[:, 0]), rtol=1e-5
    )


def test_more_streaks_are_more_light(picture) -> None:
    def light(density: float) -> float:
        scene = RainScene(seed=1, layers=(dataclasses.replace(LAYER, density=density),))
        return float(render(np.zeros((80, 80, 3), np.uint8), scene).rainy.mean())

    assert light(0.001) < 0.6 * light(0.004) < 0.36 * light(0.016)


def test_things_in_front_hide_streaks_and_the_veil_dims_them() -> None:
    black = np.zeros((60, 60, 3), np.uint8)
    depth = np.full((60, 60), 50, np.float32)
    depth[:, :30] = 1
    scene = RainScene(seed=0, layers=(LAYER,))
    streaks = render(black, scene, depth).streaks
    assert not streaks[:, :30].any()
    assert streaks[:, 30:].any()
    dim = render(black, dataclasses.replace(scene, extinction=0.5), depth).streaks
    np.testing.assert_allclose(dim, streaks * np.exp(-1.0), atol=1)


def test_sensor_noise_does_not_depend_on_the_streaks() -> None:
    grey = np.full((30, 30, 3), 128, np.uint8)
    dry = RainScene(seed=0, camera=Camera(read_noise=3.0))
    rainy = dataclasses.replace(dry, layers=(dataclasses.replace(LAYER, density=1e-9),))
    np.testing.assert_array_equal(render(grey, dry).rainy, render(grey, rainy).rainy)


def test_streak_pictures_are_laid(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 200, 10, np.uint8), (10, 1))
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    masks = read_masks(tmp_path)
    black = np.zeros((10, 20, 3), np.uint8)
    rainy = render(black, RainScene(seed=0, mask=MASK), masks=masks).rainy
    np.testing.assert_allclose(rainy[..., 0], ramp / 2, atol=1)
    mirrored = dataclasses.replace(MASK, mirrored=True, strength=1.0, left=0.99)
    np.testing.assert_allclose(cut_mask(mirrored, masks, 4, 5)[0] * 255, ramp[0, :14:-1], rtol=1e-5)
    assert cut_mask(dataclasses.replace(MASK, scale=0.5), masks, 33, 35).shape == (33, 35)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    black = np.zeros((10, 20, 3), np.uint8)
    with pytest.raises(DataError, match="depth is 20x9 but the picture is 20x10"):
        render(black, RainScene(seed=0), np.ones((9, 20), np.float32))
    with pytest.raises(DataError, match="streak picture 'a' is not there"):
        render(black, RainScene(seed=0, mask=MASK))
    with pytest.raises(DataError, match="no such folder"):
        read_masks(tmp_path / "none")


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
