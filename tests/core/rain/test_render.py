import cv2
import numpy as np
import pytest

from core.errors import DataError
from core.rain.depth import ground_depth
from core.rain.render import Rendered, render, to_display, to_linear
from core.rain.scene import PRESETS, CameraConfig, RenderConfig

LAYER = {"nearest": 2.0, "density": 0.01, "angle": 10.0, "jitter": 2.0, "length": 20.0}
LAYER |= {"width": 0.8, "strength": 0.6, "layers": 1}
"""One layer of streaks, as ranges of one value each."""


def _rain(**values: object) -> RenderConfig:
    """Return a rain without what is not asked for: ranges of one value each, and sure events."""
    none = {"layers": 0, "oscillation": 0.0, "screen": 0.0, "mask": 0.0, "veil": 0.0, "tint": 0.0}
    none |= {"horizon": 0.4, "far": 50.0, "camera": CameraConfig(noise=0.0, jpeg=0.0)}
    sure = {"oscillation", "screen", "mask", "veil", "linear", "camera"}
    both = {
        name: value if name in sure else (value, value) for name, value in (none | values).items()
    }
    return RenderConfig(**both)


def test_a_rain_is_a_function_of_its_arguments(picture) -> None:
    clean = picture(60, 70)
    first = render(clean, PRESETS["heavy"], 1)
    np.random.default_rng().random()
    other = render(clean, PRESETS["heavy"], 2)
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        again = render(clean, first.scene, 1)  # from what was drawn
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(first.rainy, again.rainy)
    np.testing.assert_array_equal(first.streaks, again.streaks)
    assert again.scene == first.scene
    assert (other.rainy != first.rainy).any()


@pytest.mark.parametrize("linear", [False, True])
def test_no_rain_changes_nothing(picture, linear: bool) -> None:
    clean = picture(20, 30)
    rendered = render(clean, _rain(linear=linear), 0)
    np.testing.assert_array_equal(rendered.rainy, clean)
    assert not rendered.streaks.any()
    assert (rendered.transmission == 1).all()


def test_additive_rain_is_clean_plus_streaks(picture) -> None:
    clean = picture(50, 40)
    rendered = render(clean, _rain(**LAYER), 3)
    wanted = np.minimum(clean + rendered.streaks[..., None].astype(int), 255)
    assert np.abs(rendered.rainy - wanted).max() <= 1
    assert rendered.streaks.any()


def test_the_veil_grows_with_depth(picture) -> None:
    clean = picture(40, 30)
    rain = _rain(veil=1.0, extinction=0.05, airlight=0.7)
    near, far = (render(clean, rain, 0, np.full((40, 30), d, np.float32)) for d in (5, 50))
    grey = 0.7 * 255
    assert np.abs(far.rainy - grey).mean() < 0.2 * np.abs(near.rainy - grey).mean()
    np.testing.assert_allclose(far.transmission, np.exp(-2.5), rtol=1e-5)
    prior = render(clean, rain, 0).transmission[:, 0]
    assert (np.diff(prior) >= 0).all()
    np.testing.assert_allclose(prior, np.exp(-0.05 * ground_depth(40, 1, 0.4, 50)[:, 0]), rtol=1e-5)


def test_things_in_front_hide_streaks_and_the_veil_dims_them() -> None:
    black = np.zeros((60, 60, 3), np.uint8)
    depth = np.full((60, 60), 50, np.float32)
    depth[:, :30] = 1
    layer = LAYER | {"strength": 0.3}
    streaks = render(black, _rain(**layer), 0, depth).streaks
    assert not streaks[:, :30].any()
    assert streaks[:, 30:].any()
    dim = render(black, _rain(**layer, veil=1.0, extinction=0.5), 0, depth).streaks
    np.testing.assert_allclose(dim, streaks * np.exp(-1.0), atol=1)


def test_nearer_things_hide_a_layer_softly() -> None:
    rain = _rain(**(LAYER | {"nearest": 10.0, "density": 0.05}))
    black = np.zeros((80, 80, 3), np.uint8)
    light = [
        float(render(black, rain, 1, np.full((80, 80), d, np.float32)).streaks.mean())
        for d in (8.9, 10.0, 11.1, 50.0)
    ]
    assert light[0] == 0
    assert light[1] == pytest.approx(light[3] / 2, rel=0.1)
    assert light[2] == light[3]


def test_wrong_arguments_are_named() -> None:
    black = np.zeros((10, 20, 3), np.uint8)
    with pytest.raises(DataError, match="depth is 20x9 but the picture is 20x10"):
        render(black, _rain(), 0, np.ones((9, 20), np.float32))


LEVELS = np.array([[[0, 102, 230]]], np.uint8)
WHOLE = {"mask": 1.0, "mask_strength": 1.0}


def _pixels(**rain: object) -> list[int]:
    """One pixel, (0, 0.4, 0.9), 100 m away, under a streak picture of a fifth of white."""
    masks = [np.full((1, 1), 51, np.uint8)]
    depth = np.full((1, 1), 100, np.float32)
    return [int(value) for value in render(LEVELS, _rain(**rain), 0, depth, masks).rainy[0, 0]]


def test_the_composition_by_hand() -> None:
    assert _pixels() == [0, 102, 230]
    assert _pixels(**WHOLE) == [51, 153, 255]  # clipped at white
    assert _pixels(**WHOLE, screen=1.0) == [51, 133, 235]
    assert _pixels(mask=1.0, mask_strength=0.5) == [26, 128, 255]
    veiled = 0.8 + (LEVELS[0, 0] / 255 - 0.8) * np.exp(-2.0)
    found = _pixels(veil=1.0, extinction=0.02, airlight=0.8)
    np.testing.assert_allclose(found, 255 * veiled, atol=0.51)


def test_linear_light_by_hand() -> None:
    background, sky = (np.float64(((v + 0.055) / 1.055) ** 2.4) for v in (LEVELS[0, 0] / 255, 0.8))
    background[0] = 0.0
    for around in (0.0, 0.25):  # the surroundings of a lone pixel are itself
        light = 3 * ((1 - around) * sky + around * background)
        mixed = np.minimum(0.8 * background + 0.2 * light, 1)
        wanted = 255 * (1.055 * mixed ** (1 / 2.4) - 0.055)
        wanted[mixed <= 0.0031308] = 0.0
        found = _pixels(**WHOLE, linear=True, light=3.0, around=around, airlight=0.8)
        np.testing.assert_allclose(found, wanted, atol=0.51)


def test_the_curve_there_and_back() -> None:
    levels = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(to_display(to_linear(levels)), levels, atol=1e-6)
    assert to_linear(np.float64([0.02, 0.5])) == pytest.approx([0.02 / 12.92, 0.21404], abs=1e-5)


def test_night_leaves_lamps_and_streaks_shine_near_them() -> None:
    grey = np.full((120, 120, 3), 90, np.uint8)
    grey[50:70, :20] = 255
    values = LAYER | {"linear": True, "light": 20.0, "around": 1.0}
    rendered = render(grey, _rain(**values, night=3.0), 2)
    assert rendered.clean[60, 5, 0] == 255
    assert rendered.clean[5, 100, 0] < 30
    gained = (rendered.rainy.astype(int) - rendered.clean).mean(axis=2)
    assert gained[:, 20:35].max() > 10 * max(gained[:, 80:].max(), 0.1)
    np.testing.assert_array_equal(render(grey, _rain(**values), 2).clean, grey)


def test_one_rain_goes_on_over_frames_and_noise_does_not() -> None:
    grey = np.full((150, 150, 3), 60, np.uint8)
    camera = CameraConfig(noise=1.0, read_noise=(2.0, 2.0), jpeg=0.0)
    layer = LAYER | {"density": 2e-3, "angle": 0.0, "jitter": 0.0, "shutter": 1.0}
    rain = _rain(**layer, camera=camera)
    first, again, second = (render(grey, rain, 4, frame=frame) for frame in (0, 0, 1))
    np.testing.assert_array_equal(first.rainy, again.rainy)
    assert (first.rainy != second.rainy).mean() > 0.5

    def columns(rendered: Rendered) -> np.ndarray:
        return rendered.streaks[30:-30].max(axis=0) > 60

    assert columns(first).sum() > 10  # upright streaks stay in their columns
    assert (columns(first) & columns(second)).sum() > 0.5 * columns(first).sum()


def _shot(picture: np.ndarray, **camera: float) -> np.ndarray:
    values = {"noise": 0.0, "jpeg": 0.0} | camera
    pairs = {
        name: value if name in ("noise", "jpeg") else (value, value)
        for name, value in values.items()
    }
    return render(picture, _rain(camera=CameraConfig(**pairs)), 0).rainy


def test_noise_has_the_stated_variance_and_depends_on_no_streak() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = _shot(grey, noise=1.0, photons=200.0, read_noise=4.0)
    wanted = 255**2 * (128 / 255) / 200 + 4.0**2 + 1 / 12
    assert noisy.astype(float).var() == pytest.approx(wanted, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.2)
    camera = CameraConfig(noise=1.0, photons=(200, 200), read_noise=(4, 4), jpeg=0.0)
    wet = render(grey, _rain(**(LAYER | {"density": 1e-6}), camera=camera), 0)
    assert (wet.rainy == noisy)[wet.streaks == 0].all()


def test_jpeg_keeps_colours_and_loses_detail(picture) -> None:
    soft = picture(64, 48)
    for quality, most in ((95, 3), (20, 12)):
        coded = _shot(soft, jpeg=1.0, quality=quality)
        assert 0 < np.abs(coded.astype(int) - soft).mean() < most
