import numpy as np
import pytest

from core.config import build_config
from core.errors import ConfigError
from core.rain.scene import PRESETS, Camera, CameraConfig, RainScene, RenderConfig, draw_scene


def _scenes(config: RenderConfig, count: int = 40) -> list[RainScene]:
    return [draw_scene(config, np.random.default_rng(seed), ["a", "b"]) for seed in range(count)]


@pytest.mark.parametrize("preset", PRESETS)
def test_scenes_survive_json(preset: str) -> None:
    for scene in _scenes(PRESETS[preset], 6):
        assert RainScene.from_json(scene.to_json()) == scene


def test_scenes_stay_in_their_ranges() -> None:
    config = PRESETS["mixed"]
    for scene in _scenes(config):
        assert 0.58 <= min(scene.airlight) <= max(scene.airlight) <= 0.97
        assert scene.extinction == 0 or 0.002 <= scene.extinction <= 0.03
        assert len(scene.layers) + bool(scene.masks) <= 4
        for layer in scene.layers:
            assert -35 <= layer.angle <= 35
            assert 0 < layer.strength <= 0.9


def test_deeper_layers_are_shorter_thinner_fainter_and_denser() -> None:
    config = RenderConfig(layers=(3, 3), spacing=(2.0, 2.0), mask=0.0, length=(40.0, 40.0))
    near, middle, far = _scenes(config, 1)[0].layers
    assert far.depth == pytest.approx(4 * near.depth)
    assert [near.length, middle.length, far.length] == pytest.approx([40, 20, 10])
    assert far.width == pytest.approx(near.width / 4)
    assert far.strength == pytest.approx(near.strength / 2)
    assert middle.density == pytest.approx(4 * near.density)


def test_a_probability_of_one_or_none_is_kept() -> None:
    none = CameraConfig(noise=0, jpeg=0, defocus=0)
    for scene in _scenes(RenderConfig(veil=0, mask=0, camera=none)):
        assert scene.camera == Camera()
        assert scene.extinction == 0
        assert not scene.masks
    always = CameraConfig(noise=1, jpeg=1, defocus=1)
    scenes = _scenes(RenderConfig(veil=1, mask=1, camera=always))
    for scene in scenes:
        assert min(scene.camera.blur, scene.camera.photons, scene.camera.quality) > 0
        assert scene.extinction > 0
        assert sum(mask.strength for mask in scene.masks) <= 1.3  # weights of a mixture
    assert {mask.name for scene in scenes for mask in scene.masks} == {"a", "b"}
    assert {len(scene.masks) for scene in scenes} == {1, 2, 3}


def test_thin_quick_streaks_are_nearly_transparent() -> None:
    fixed = {"light": (5.0, 5.0), "strength": (1.0, 1.0), "layers": (2, 2), "width": (0.8, 0.8)}
    slow, quick = (
        _scenes(RenderConfig(length=(length, length), mask=0.0, **fixed), 1)[0].layers
        for length in (20.0, 80.0)
    )
    assert slow[0].strength == pytest.approx(2.5 * 0.8 / 20)
    assert quick[0].strength == pytest.approx(slow[0].strength / 4)
    assert slow[1].strength == slow[0].strength  # of the same drop, farther away


def test_layers_spread_around_one_direction() -> None:
    config = RenderConfig(layers=(4, 4), mask=0.0, spread=(10.0, 10.0))
    off = [np.std([layer.angle for layer in scene.layers], ddof=1) for scene in _scenes(config)]
    assert np.mean(off) == pytest.approx(10, abs=2)


def test_ranges_of_older_cards_load() -> None:
    older = {"overcast": 0.0, "overcast_strength": [0.05, 0.2], "layers": [1, 2]}
    assert build_config(RenderConfig, older, "rain") == RenderConfig(layers=(1, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RenderConfig(angle=(5.0, -5.0)), r"rain\.angle \[5\.0, -5\.0\] is not a range"),
        (lambda: RenderConfig(layers=(1, 9)), r"rain\.layers \[1, 9\] is not a range within"),
        (lambda: RenderConfig(veil=1.5), r"rain\.veil 1\.5 is not within \[0, 1\]"),
        (lambda: CameraConfig(quality=(0.0, 50.0)), r"camera\.quality \[0\.0, 50\.0\]"),
        (lambda: CameraConfig(jpeg=-1), r"camera\.jpeg -1"),
        (lambda: RainScene.from_json("{"), "scene: is not JSON"),
        (lambda: RainScene.from_json('{"sed": 1}'), "sed: unknown key; did you mean 'seed'"),
        (lambda: RainScene.from_json("[]"), "scene: must be a mapping"),
    ],
)
def test_wrong_values_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
