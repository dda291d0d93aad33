import cv2
import numpy as np
import pytest

from core.config import build_config
from core.errors import ConfigError
from core.rain.drawn import FixedRain, RainConfig, streak_layer
from core.rain.scene import PRESETS


def _layer(seed: int = 0, size: int = 160, **ranges: tuple[float, float]) -> np.ndarray:
    fixed = {"angle": (0.0, 0.0), "length": (25.0, 25.0), "thickness": (0.8, 0.8)}
    fixed |= {"density": (0.002, 0.002), "strength": (0.5, 0.5)}
    return streak_layer(size, size, RainConfig(**(fixed | ranges)), np.random.default_rng(seed))


def _direction(layer: np.ndarray) -> float:
    """Degrees from vertical of the streaks: the structure tensor's axis of least change."""
    dy, dx = np.gradient(cv2.GaussianBlur(layer.astype(float), (0, 0), 2))
    across = 0.5 * np.arctan2(2 * (dx * dy).sum(), (dx**2).sum() - (dy**2).sum())
    return float(-np.rad2deg(across))


@pytest.mark.parametrize("angle", [-40.0, -10.0, 0.0, 25.0])
def test_direction_is_recovered(angle: float) -> None:
    assert _direction(_layer(angle=(angle, angle))) == pytest.approx(angle, abs=2)


def test_more_streaks_wet_more_of_the_picture() -> None:
    wet = [
        np.mean([(_layer(seed, density=(d, d)) > 20).mean() for seed in range(4)])
        for d in (0.0005, 0.002, 0.01)
    ]
    assert wet[0] < 0.7 * wet[1] < 0.49 * wet[2]


def test_a_layer_is_a_function_of_the_random_state() -> None:
    np.testing.assert_array_equal(_layer(3), _layer(3))
    assert (_layer(3) != _layer(4)).any()


def test_a_layer_is_as_bright_as_its_strength() -> None:
    for strength in (0.2, 0.7):
        layer = _layer(strength=(strength, strength))
        assert layer.dtype == np.uint8
        assert np.percentile(layer, 99) == pytest.approx(255 * strength, abs=2)
    assert not _layer(strength=(0.0, 0.0)).any()


def test_layers_of_the_published_figures_are_drawn_as_then() -> None:
    # Sums of levels as the first version drew them; a single level elsewhere is the processor's.
    for seed, levels, moment in ((0, 49899, 2211527), (1, 169002, 7683494), (2, 17886, 878265)):
        layer = streak_layer(80, 90, RainConfig(), np.random.default_rng(seed)).astype(int)
        assert layer.sum() == pytest.approx(levels, abs=3)
        assert (layer * np.arange(90)).sum() == pytest.approx(moment, abs=300)


@pytest.mark.parametrize(("layers", "veil"), [(1, 0.0), (4, 0.0), (2, 0.2)])
def test_fixed_rain_is_laid_as_levels_are_by_hand(picture, layers: int, veil: float) -> None:
    ranges = RainConfig(density=(0.001, 0.01), strength=(0.3, 0.8))
    clean, rng = picture(80, 90), np.random.default_rng([7, 3])
    wanted = (clean * (1 - veil) + 200 * veil + 0.5).astype(int)
    for _ in range(layers):
        wanted = np.minimum(wanted + streak_layer(80, 90, ranges, rng)[..., None], 255)
    rainy = FixedRain(ranges, layers, veil, seed=7).apply(clean, 3)
    np.testing.assert_array_equal(rainy, wanted)


def test_fixed_rain_may_be_rendered(picture) -> None:
    clean = picture(60, 50)
    named = build_config(FixedRain, {"preset": "sparse", "seed": 3}, "rain")
    own = FixedRain(ranges=PRESETS["sparse"], seed=3)
    np.testing.assert_array_equal(named.apply(clean, 1), own.apply(clean, 1))
    assert (named.apply(clean, 1) != named.apply(clean, 2)).any()


def test_fixed_rain_is_the_same_every_time_and_another_on_every_picture(picture) -> None:
    rain = FixedRain(layers=2, veil=0.2, seed=7)
    clean = picture(40, 50)
    first = rain.apply(clean, 0)
    rain.apply(clean, 5)
    np.testing.assert_array_equal(rain.apply(clean, 0), first)
    assert (rain.apply(clean, 1) != first).any()
    assert (FixedRain(layers=2, veil=0.2, seed=8).apply(clean, 0) != first).any()
    assert first.shape == clean.shape
    np.testing.assert_array_equal(FixedRain(layers=0).apply(clean, 0), clean)


def test_fixed_rain_never_darkens_without_a_veil(picture) -> None:
    clean = picture(40, 50)
    assert (FixedRain(layers=3).apply(clean, 0) >= clean).all()


@pytest.mark.parametrize(
    ("name", "ends"), [("angle", (5.0, -5.0)), ("strength", (0.0, 1.5)), ("length", (0.0, 5.0))]
)
def test_wrong_ranges_are_named(name: str, ends: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=rf"rain\.{name} \[{ends[0]}, {ends[1]}\] is not a range"):
        RainConfig(**{name: ends})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": -1}, "-1"),
        ({"veil": 1.5}, "1.5"),
        ({"seed": -1}, "-1"),
        ({"preset": "night"}, "use derain synthesize"),
    ],
)
def test_wrong_fixed_rain(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FixedRain(**values)
