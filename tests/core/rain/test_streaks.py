import cv2
import numpy as np
import pytest

from core.rain.scene import StreakLayer
from core.rain.streaks import draw_streaks

LAYER = StreakLayer(depth=2, density=0.002, angle=0, jitter=0, length=30, width=0.8, strength=0.5)


def _draw(seed: int = 0, size: int = 200, **changes: float) -> np.ndarray:
    layer = LAYER._replace(**changes)
    return draw_streaks(size, size, layer, np.random.default_rng(seed))


def _direction(layer: np.ndarray) -> float:
    """Degrees from vertical of the streaks: the structure tensor's axis of least change."""
    dy, dx = np.gradient(cv2.GaussianBlur(layer, (0, 0), 1.5).astype(float))
    across = 0.5 * np.arctan2(2 * (dx * dy).sum(), (dx**2).sum() - (dy**2).sum())
    return float(-np.rad2deg(across))


@pytest.mark.parametrize("angle", [-40.0, -10.0, 0.0, 25.0])
def test_direction_is_recovered(angle: float) -> None:
    assert _direction(_draw(angle=angle)) == pytest.approx(angle, abs=1.5)


def test_directions_scatter_by_the_jitter() -> None:
    few = [_draw(seed, 90, jitter=8.0, density=1.5e-4) for seed in range(60)]
    found = [_direction(layer) for layer in few if layer.any()]
    assert np.std(found) == pytest.approx(8, abs=3)
    assert np.mean(found) == pytest.approx(0, abs=3)


def test_drops_fall_on_from_frame_to_frame() -> None:
    still, angle = {"density": 2e-4, "length": 20.0}, np.deg2rad(30)
    layer = LAYER._replace(angle=30.0, **still)
    first, second, late = (
        draw_streaks(200, 200, layer, np.random.default_rng(1), fallen) for fallen in (0, 0.5, 40)
    )
    # Half a streak on, where streaks are 14 to 26 pixels long; new ones enter at the edges.
    shift = 0.5 * 20 * np.array([np.sin(angle), np.cos(angle)])
    moved = cv2.warpAffine(first, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), (200, 200))
    inner = (slice(30, 170), slice(30, 170))
    moved, soft, stays = (
        cv2.GaussianBlur(each, (0, 0), 2)[inner].ravel() for each in (moved, second, first)
    )
    assert np.corrcoef(moved, soft)[0, 1] > 0.9 > 0.8 > np.corrcoef(stays, soft)[0, 1]
    gone = cv2.GaussianBlur(late, (0, 0), 2)[inner].ravel()
    assert np.corrcoef(stays, gone)[0, 1] < 0.3
    assert late.mean() == pytest.approx(first.mean(), rel=0.5)


def test_drops_out_of_focus_are_broader_and_as_bright_in_all() -> None:
    sharp, soft = _draw(), _draw(blur=3.0)
    assert soft.mean() == pytest.approx(sharp.mean(), rel=0.05)
    assert soft.max() < 0.5 * sharp.max()


def test_energy_is_that_of_its_streaks() -> None:
    # Mean brightness: density times the area of a streak times the mean peak.
    for density in (0.001, 0.004):
        mean = np.mean([_draw(seed, density=density).mean() for seed in range(8)])
        peak = 0.5 * (0.15 + 0.85 / 3)
        area = 30 * 0.8 * np.sqrt(2 * np.pi)  # length times that of a Gaussian profile
        assert mean == pytest.approx(density * area * peak, rel=0.12)


def test_the_picture_is_covered_evenly() -> None:
    mean = np.mean([_draw(seed, 64, angle=30.0, density=0.02) for seed in range(60)], axis=0)
    blocks = mean.reshape(4, 16, 4, 16).mean((1, 3))
    assert blocks.max() < 1.25 * blocks.min()


def test_thin_streaks_are_dimmer_not_thinner() -> None:
    thin, thinnest = _draw(width=0.5), _draw(width=0.1)
    assert thinnest.mean() == pytest.approx(0.2 * thin.mean(), rel=0.2)


@pytest.mark.parametrize("ripples", [0, 3])
def test_a_streak_is_a_line_with_tapered_ends_that_ripples(ripples: int) -> None:
    drawn = _draw(1, 120, density=1e-4, length=60, ripples=ripples)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    along = drawn[:, column] / drawn.max()
    assert 30 < (along > 0.3).sum() < 90
    assert drawn[row, column] > 5 * drawn[row, [column - 4, column + 4]].max()
    peaks = (np.diff(np.sign(np.diff(along[along > 0.3]))) < 0).sum()
    assert peaks >= ripples if ripples else peaks <= 1


def test_a_layer_is_a_function_of_the_random_state() -> None:
    np.testing.assert_array_equal(_draw(3, jitter=2.0), _draw(3, jitter=2.0))
    assert (_draw(3) != _draw(4)).any()
    assert not _draw(density=0.0).any()
    odd = draw_streaks(5, 301, LAYER, np.random.default_rng(0))
    assert odd.shape == (5, 301)
    assert odd.dtype == np.float32
