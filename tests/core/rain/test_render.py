import dataclasses

import cv2
import numpy as np
import pytest

from core.errors import DataError
from core.rain.depth import ground_depth
from core.rain.render import Rendered, render, to_display, to_linear
from core.rain.scene import PRESETS, Camera, MaskLayer, RainScene, StreakLayer, draw_scene

LAYER = StreakLayer(2, 0.01, 10, 2, 20, 0.8, 0.6)


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


def test_things_in_front_hide_streaks_and_the_veil_dims_them() -> None:
    black = np.zeros((60, 60, 3), np.uint8)
    depth = np.full((60, 60), 50, np.float32)
    depth[:, :30] = 1
    scene = RainScene(seed=0, layers=(dataclasses.replace(LAYER, strength=0.3),))
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


def test_wrong_arguments_are_named() -> None:
    black = np.zeros((10, 20, 3), np.uint8)
    with pytest.raises(DataError, match="depth is 20x9 but the picture is 20x10"):
        render(black, RainScene(seed=0), np.ones((9, 20), np.float32))
    with pytest.raises(DataError, match="streak picture 'a' is not there"):
        render(black, RainScene(seed=0, masks=(WHOLE,)))


LEVELS = np.array([[[0, 102, 230]]], np.uint8)
WHOLE = MaskLayer("a", strength=1.0, scale=1.0, top=0.0, left=0.0, mirrored=False)


def _pixels(**scene: object) -> list[int]:
    """One pixel, (0, 0.4, 0.9), under a scene whose streak picture is half grey and 100 m away."""
    masks = {"a": np.full((1, 1), 51, np.uint8)}
    depth = np.full((1, 1), 100, np.float32)
    rain = RainScene(seed=0, **scene)  # type: ignore[arg-type]
    return [int(value) for value in render(LEVELS, rain, depth, masks).rainy[0, 0]]


def test_the_composition_by_hand() -> None:
    assert _pixels() == [0, 102, 230]
    assert _pixels(masks=(WHOLE,)) == [51, 153, 255]  # clipped at white
    assert _pixels(masks=(WHOLE,), screen=True) == [51, 133, 235]
    through, airlight = np.exp(-2.0), (0.8, 0.8, 0.6)
    veiled = np.array(airlight) + (LEVELS[0, 0] / 255 - airlight) * through
    found = _pixels(extinction=0.02, airlight=airlight)
    np.testing.assert_allclose(found, 255 * veiled, atol=0.51)


def test_linear_light_by_hand() -> None:
    assert _pixels(linear=True) == [0, 102, 230]
    display = LEVELS[0, 0] / 255
    background, sky = (np.float64(((v + 0.055) / 1.055) ** 2.4) for v in (display, 0.8))
    background[0] = 0.0
    for around in (0.0, 0.25):  # the surroundings of a lone pixel are itself
        light = 3 * ((1 - around) * sky + around * background)
        mixed = np.minimum(0.8 * background + 0.2 * light, 1)
        wanted = 255 * (1.055 * mixed ** (1 / 2.4) - 0.055)
        wanted[mixed <= 0.0031308] = 0.0
        found = _pixels(masks=(WHOLE,), linear=True, light=3.0, around=around)
        np.testing.assert_allclose(found, wanted, atol=0.51)


def test_the_curve_there_and_back() -> None:
    levels = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(to_display(to_linear(levels)), levels, atol=1e-6)
    assert to_linear(np.float64([0.02, 0.5])) == pytest.approx([0.02 / 12.92, 0.21404], abs=1e-5)


def test_night_leaves_lamps_and_streaks_shine_near_them() -> None:
    grey = np.full((120, 120, 3), 90, np.uint8)
    grey[50:70, :20] = 255
    scene = RainScene(seed=2, linear=True, night=3.0, light=20.0, around=1.0)
    scene = dataclasses.replace(scene, layers=(dataclasses.replace(LAYER, strength=0.05),))
    rendered = render(grey, scene)
    assert rendered.clean[60, 5, 0] == 255
    assert rendered.clean[5, 100, 0] < 30
    gained = (rendered.rainy.astype(int) - rendered.clean).mean(axis=2)
    assert gained[:, 20:35].max() > 10 * max(gained[:, 80:].max(), 0.1)
    day = render(grey, dataclasses.replace(scene, night=1.0))
    np.testing.assert_array_equal(day.clean, grey)


def test_one_rain_goes_on_over_frames_and_noise_does_not() -> None:
    grey = np.full((150, 150, 3), 60, np.uint8)
    layer = dataclasses.replace(LAYER, density=2e-3, angle=0.0, jitter=0.0)
    scene = RainScene(seed=4, layers=(layer,), shutter=1.0, camera=Camera(read_noise=2.0))
    first, again, second = (render(grey, scene, frame=frame) for frame in (0, 0, 1))
    np.testing.assert_array_equal(first.rainy, again.rainy)
    assert (first.rainy != second.rainy).mean() > 0.5

    def columns(rendered: Rendered) -> np.ndarray:
        return rendered.streaks[30:-30].max(axis=0) > 60

    assert columns(first).sum() > 10  # upright streaks stay in their columns
    assert (columns(first) & columns(second)).sum() > 0.5 * columns(first).sum()


def test_nearer_things_hide_a_layer_softly() -> None:
    layer = dataclasses.replace(LAYER, depth=10.0, density=0.05)
    black = np.zeros((80, 80, 3), np.uint8)
    sums = [
        render(black, RainScene(seed=1, layers=(layer,)), np.full((80, 80), d, np.float32))
        for d in (8.9, 10.0, 11.1, 50.0)
    ]
    light = [float(each.streaks.astype(float).mean()) for each in sums]
    assert light[0] == 0
    assert light[1] == pytest.approx(light[3] / 2, rel=0.1)
    assert light[2] == light[3]


def _shot(grey: int, size: int = 200, **camera: float) -> np.ndarray:
    picture = np.full((size, size, 3), grey, np.uint8)
    return render(picture, RainScene(seed=0, camera=Camera(**camera))).rainy  # type: ignore[arg-type]


def test_noise_has_the_stated_variance() -> None:
    noisy = _shot(128, photons=200.0, read_noise=4.0).astype(float)
    wanted = 255**2 * (128 / 255) / 200 + 4.0**2 + 1 / 12
    assert noisy.var() == pytest.approx(wanted, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.2)


def test_jpeg_keeps_colours_and_loses_detail_and_defocus_blurs(picture) -> None:
    soft = picture(64, 48)
    edge = np.repeat(np.uint8([0, 255]), 8)[None, :, None].repeat(9, 0).repeat(3, 2)
    for quality, most in ((95, 3), (20, 12)):
        coded = render(soft, RainScene(seed=0, camera=Camera(quality=quality))).rainy
        assert 0 < np.abs(coded.astype(int) - soft).mean() < most
    blurred = render(edge, RainScene(seed=0, camera=Camera(blur=0.6))).rainy
    assert 0 < blurred[4, 7, 0] < blurred[4, 8, 0] < 255
