import json

import numpy as np
import pytest

from core.config import build_config
from core.errors import ConfigError
from core.rain.scene import (
    PRESETS,
    CameraConfig,
    RenderConfig,
    StreakLayer,
    draw_scene,
    streak_layers,
)
from edge_runtime.models.records import to_json


def _scenes(config: RenderConfig, count: int = 40) -> list[RenderConfig]:
    return [draw_scene(config, np.random.default_rng(seed)) for seed in range(count)]


def _layers(first: int = 0, **ranges: float) -> list[StreakLayer]:
    fixed = {name: (value, value) for name, value in ranges.items()}
    rng = np.random.default_rng(0)
    return streak_layers(draw_scene(RenderConfig(**fixed), rng), rng, first)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_drawn_survives_json_and_drawing(preset: str) -> None:
    for scene in _scenes(PRESETS[preset], 6):
        assert build_config(RenderConfig, json.loads(to_json(scene)), "rain") == scene
        assert draw_scene(scene, np.random.default_rng(9)) == scene


def test_scenes_stay_in_their_ranges_and_fill_them() -> None:
    config = PRESETS["mixed"]
    scenes = _scenes(config, 300)
    for name in ("angle", "length", "density", "strength", "extinction", "airlight", "layers"):
        low, high = getattr(config, name)
        found = [getattr(scene, name)[0] for scene in scenes]
        assert low <= min(found) <= max(found) <= high
        logs = name in ("length", "density", "extinction")  # as many below as above the middle
        middle = (low * high) ** 0.5 if logs else (low + high) / 2
        assert np.mean(np.less(found, middle)) == pytest.approx(0.5, abs=0.1)
    for name in ("veil", "mask", "screen"):
        share = np.mean([getattr(scene, name) for scene in scenes])
        assert share == pytest.approx(getattr(config, name), abs=0.09)
        assert {getattr(scene, name) for scene in scenes} == {0, 1}
    assert {scene.camera.jpeg for scene in scenes} == {0, 1}


def test_deeper_layers_are_shorter_thinner_fainter_and_denser() -> None:
    near, middle, far = _layers(layers=3, spacing=2.0, length=40.0)
    assert far.depth == pytest.approx(4 * near.depth)
    assert [near.length, middle.length, far.length] == pytest.approx([40, 20, 10])
    assert far.width == pytest.approx(near.width / 4)
    assert far.strength == pytest.approx(near.strength / 2)
    assert middle.density == pytest.approx(4 * near.density)
    assert _layers(1, layers=3, spacing=2.0, length=40.0)[0].length == middle.length


def test_thin_quick_streaks_are_nearly_transparent() -> None:
    fixed = {"light": 5.0, "strength": 1.0, "layers": 2, "width": 0.8}
    slow, quick = (_layers(length=length, **fixed) for length in (20.0, 80.0))
    assert slow[0].strength == pytest.approx(2.5 * 0.8 / 20)
    assert quick[0].strength == pytest.approx(slow[0].strength / 4)
    assert slow[1].strength == slow[0].strength  # of the same drop, farther away


def test_layers_spread_around_one_direction() -> None:
    angles = [layer.angle for layer in _layers(layers=8, spread=10.0, angle=5.0)]
    assert np.std(angles) == pytest.approx(10, abs=6)
    assert np.mean(angles) == pytest.approx(5, abs=10)
    assert {layer.angle for layer in _layers(layers=8, angle=5.0)} == {5.0}


def test_ranges_of_older_cards_load() -> None:
    older = {"overcast": 0.0, "overcast_strength": [0.05, 0.2], "layers": [1, 2]}
    older |= {"camera": {"defocus": 0.0, "blur": [0.2, 0.6]}}
    assert build_config(RenderConfig, older, "rain") == RenderConfig(layers=(1, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RenderConfig(angle=(5.0, -5.0)), r"rain\.angle \[5\.0, -5\.0\] is not a range"),
        (lambda: RenderConfig(layers=(1, 9)), r"rain\.layers \[1, 9\] is not a range within"),
        (lambda: RenderConfig(veil=1.5), r"rain\.veil 1\.5 is not within \[0, 1\]"),
        (lambda: RenderConfig(night=(0.5, 1.0)), r"rain\.night \[0\.5, 1\.0\]"),
        (lambda: CameraConfig(quality=(0.0, 50.0)), r"camera\.quality \[0\.0, 50\.0\]"),
        (lambda: CameraConfig(jpeg=-1), r"camera\.jpeg -1"),
    ],
)
def test_wrong_values_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
