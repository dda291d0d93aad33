import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import metrics as oracle
from skimage.color import rgb2ycbcr

from edge_runtime.errors import MetricError
from edge_runtime.metrics import Quality, luma, measure, psnr, ssim

Noise = Callable[..., NDArray[np.uint8]]


@pytest.fixture(params=[(11, 11), (12, 37), (64, 48)])
def pair(request: pytest.FixtureRequest, noise: Noise) -> tuple[NDArray[Any], NDArray[Any]]:
    first = noise(*request.param, 3)
    shift = noise(*request.param, 3, seed=1).astype(int) // 8 - 16
    return first, np.clip(first + shift, 0, 255).astype(np.uint8)


def _ssim(a: NDArray[Any], b: NDArray[Any], axis: int | None) -> float:
    return float(
        oracle.structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=axis,
        )
    )


def test_luma_of_known_colours() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    expected = [16.0, 235.0, 81.481, 144.553, 40.966]
    np.testing.assert_allclose(luma(colours.astype(np.uint8))[0], expected, atol=1e-9)


def test_luma_agrees_with_skimage(noise: Noise) -> None:
    rgb = noise(20, 30, 3)
    np.testing.assert_allclose(luma(rgb), rgb2ycbcr(rgb)[..., 0], atol=1e-9)


def test_psnr_by_hand() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert psnr(black, black + np.uint8(255)) == 0.0
    # One channel value of twelve is off by 10: mean squared error 100 / 12.
    one = black.copy()
    one[0, 0, 1] = 10
    assert psnr(black, one) == pytest.approx(10 * math.log10(255**2 * 12 / 100), abs=1e-12)
    # In luma the same error is 128.553 * 10 / 255 on one of four pixels.
    error = (128.553 * 10 / 255) ** 2 / 4
    assert psnr(black, one, "y") == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)


def test_psnr_agrees_with_skimage(pair: tuple[NDArray[Any], NDArray[Any]]) -> None:
    a, b = pair
    assert psnr(a, b) == pytest.approx(oracle.peak_signal_noise_ratio(a, b), abs=1e-6)
    expected = oracle.peak_signal_noise_ratio(luma(a), luma(b), data_range=255)
    assert psnr(a, b, "y") == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_skimage(pair: tuple[NDArray[Any], NDArray[Any]]) -> None:
    a, b = pair
    assert ssim(a, b) == pytest.approx(_ssim(a, b, 2), abs=1e-6)
    assert ssim(a, b, "y") == pytest.approx(_ssim(luma(a), luma(b), None), abs=1e-6)


def test_ssim_of_flat_pictures_by_hand() -> None:
    # Without variance only the luminance term is left.
    a, b = (np.full((15, 15, 3), value, np.uint8) for value in (100, 150))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)


def test_identical_pictures(noise: Noise) -> None:
    a = noise(16, 16, 3)
    perfect = Quality(psnr=math.inf, ssim=1.0)
    assert measure(a, a.copy()) == {"rgb": perfect, "y": perfect}


def test_measure_is_both_protocols_and_symmetric(pair: tuple[NDArray[Any], NDArray[Any]]) -> None:
    a, b = pair
    result = measure(a, b)
    assert result["rgb"] == Quality(psnr(a, b), ssim(a, b))
    assert result["y"] == Quality(psnr(a, b, "y"), ssim(a, b, "y"))
    assert result["y"].ssim == pytest.approx(measure(b, a)["y"].ssim, abs=1e-12)


def test_views_are_measured_as_their_copies(noise: Noise) -> None:
    a, b = noise(20, 40, 3), noise(20, 40, 3, seed=1)
    assert measure(a[:, ::2, ::-1], b[:, ::2, ::-1]) == measure(
        a[:, ::2, ::-1].copy(), b[:, ::2, ::-1].copy()
    )


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:-1], r"one shape, got a \(16, 16, 3\) and b \(15, 16, 3\)"),
        (lambda x: x.astype(np.float32), "b must be a uint8 array, got float32"),
        (lambda x: x.tolist(), "b must be a uint8 array, got list"),
        (lambda x: x[..., 0], r"3 channels, got shape \(16, 16\)"),
        (lambda x: np.dstack([x, x[..., :1]]), r"3 channels, got shape \(16, 16, 4\)"),
        (lambda x: x[:0], r"got shape \(0, 16, 3\)"),
    ],
)
def test_clear_errors(
    metric: Callable[..., float], change: Callable[[Any], Any], message: str, noise: Noise
) -> None:
    a = noise(16, 16, 3)
    with pytest.raises(MetricError, match=message):
        metric(a, change(a))


def test_ssim_needs_the_window(noise: Noise) -> None:
    a = noise(10, 40, 3)
    with pytest.raises(MetricError, match="at least 11 x 11 pixels, got 40 x 10"):
        ssim(a, a)
    assert psnr(a, a) == math.inf


def test_an_unknown_protocol(noise: Noise) -> None:
    a = noise(16, 16, 3)
    with pytest.raises(MetricError, match="'rgb' or 'y', got 'Y'"):
        psnr(a, a, "Y")  # type: ignore[arg-type]
