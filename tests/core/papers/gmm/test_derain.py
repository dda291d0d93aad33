import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse.linalg
import yaml

from core import cli
from core.pairs import Image
from core.papers.gmm import derain as module
from core.papers.gmm.derain import derain, fit, flattest, learn_rain, luma, split
from core.papers.gmm.mixture import Mixture, load_background
from edge_runtime.metrics import psnr
from edge_runtime.pictures.picture import read_picture


@pytest.fixture(scope="module")
def background() -> Mixture:
    return load_background()


@pytest.fixture
def clean(picture: Callable[..., Image]) -> Image:
    """Soft shapes, an edge, grass and a flat sky, as photographs have them."""
    shapes = 60 + picture(120, 144, 3) // 3
    shapes[:108, :104] = 150
    shapes[108:] += np.random.default_rng(0).integers(0, 60, (12, 144, 1), np.uint8)
    cv2.circle(shapes, (124, 50), 14, (40, 60, 50), -1, cv2.LINE_AA)
    return shapes


@pytest.fixture
def rainy(clean: Image) -> Image:
    return clean + _streaks(*clean.shape[:2])[..., None]


def _streaks(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    phase = (x + y // 3) % 9
    return np.where((phase < 2) & ((y + 5 * (x // 9)) % 24 < 16), 60, 0).astype(np.uint8)


def test_planted_periodic_rain_goes_and_colour_differences_stay(
    background: Mixture, clean: Image, rainy: Image
) -> None:
    """What is taken from each channel is what is taken from luma."""
    derained = derain(rainy, background)
    assert derained.dtype == np.uint8
    assert psnr(derained, clean, "y") > psnr(rainy, clean, "y") + 2
    found, before = derained.astype(int), rainy.astype(int)
    np.testing.assert_array_equal(found - found[..., :1], before - before[..., :1])
    taken = luma(rainy) - luma(derained)
    np.testing.assert_allclose(taken, (before - found)[..., 0] / 255, atol=1e-6)


def test_a_dry_picture_is_hardly_changed(background: Mixture, clean: Image) -> None:
    assert psnr(derain(clean, background), clean, "y") > 40


@pytest.mark.parametrize("shape", [(8, 8), (13, 21), (1, 9)])
def test_any_size_and_the_layers_add_up(background: Mixture, shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).random(shape).astype(np.float32)
    covariances = np.full((1, 64, 64), 0.01, np.float32) * np.eye(64, dtype=np.float32)
    rain = Mixture(np.ones(1, np.float32), np.zeros((1, 64), np.float32), covariances)
    clean, streaks = split(plane, background, rain)
    assert clean.shape == streaks.shape == shape
    np.testing.assert_allclose(clean + streaks, plane, atol=1e-6)
    assert streaks.min() >= 0
    assert clean.min() >= 0


def test_the_layers_minimize_their_energy() -> None:
    """The closed form against conjugate gradients on the same quadratic."""
    rng = np.random.default_rng(0)
    shape, omega, beta = (10, 12), 0.03, 0.2
    observed = 0.8 + 0.05 * rng.random(shape)
    clean, streaks = 0.5 + 0.05 * rng.random(shape), 0.2 + 0.05 * rng.random(shape)
    edges = [0.02 * rng.normal(size=shape) for _ in range(2)]
    hold = 64 * omega

    def gradient(flat: np.ndarray) -> np.ndarray:
        b, r = flat.reshape(2, *shape)
        rest = observed - b - r
        pulled = sum(
            np.roll(np.roll(b, -1, axis) - b - edge, 1, axis) - (np.roll(b, -1, axis) - b - edge)
            for axis, edge in enumerate(edges)
        )
        by_b = -rest + hold * (b - clean) + omega * pulled
        by_r = -rest + beta * r + hold * (r - streaks)
        return np.concatenate([by_b.ravel(), by_r.ravel()])

    size = 2 * observed.size
    constant = gradient(np.zeros(size))
    operator = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=lambda flat: gradient(flat) - constant
    )
    expected, failed = scipy.sparse.linalg.cg(operator, -constant, rtol=1e-10)
    assert failed == 0
    solved = module.solve(observed, clean, streaks, edges, omega, beta)
    np.testing.assert_allclose(np.stack(solved).ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_shrinking_is_the_proximal_step(threshold: float) -> None:
    for value in (-1.0, -0.2, 0.0, 0.29, 0.7):
        found = scipy.optimize.minimize_scalar(
            lambda h, value=value: 0.5 * (h - value) ** 2 + threshold * abs(h)
        ).x
        assert module.shrink(np.array([value]), threshold)[0] == pytest.approx(found, abs=1e-5)


def test_luma() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(luma(rgb), [[0.299, 0.587, 0.114, 1]], atol=1e-6)


@pytest.mark.parametrize("region", [9, 16, 100])
def test_flattest_against_a_loop(region: int) -> None:
    plane = np.random.default_rng(0).random((24, 31)).astype(np.float32)
    plane[9:20, 4:30] *= 0.1
    height, width = min(region, 24), min(region, 31)
    variances = {
        (y, x): plane[y : y + height, x : x + width].astype(float).var()
        for y in range(25 - height)
        for x in range(32 - width)
    }
    assert flattest(plane, region) == min(variances, key=variances.__getitem__)


def test_fit_finds_two_blobs_again() -> None:
    rng = np.random.default_rng(0)
    draws = [rng.normal(m, s, (n, 2)) for m, s, n in ((-2, 0.1, 3000), (3, 0.5, 1000))]
    found = fit(np.concatenate(draws).astype(np.float32), 2, 20)
    order = found.means[:, 0].argsort()
    np.testing.assert_allclose(found.weights[order], [0.75, 0.25], atol=1e-3)
    np.testing.assert_allclose(found.means[order], [[-2, -2], [3, 3]], atol=0.05)
    diagonals = np.stack([np.diag(c) for c in found.covariances[order]])
    np.testing.assert_allclose(diagonals, [[0.01, 0.01], [0.25, 0.25]], rtol=0.15)
    assert found.weights.dtype == found.means.dtype == found.covariances.dtype == np.float32


def test_rain_is_learned_where_nothing_else_varies() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((120, 140)).astype(np.float32)
    plane[8:112, 20:130] = 0.5 + 0.02 * rng.random((104, 110))
    found = learn_rain(plane)
    variance = np.trace(found.covariances, axis1=1, axis2=2) / 64
    np.testing.assert_allclose(variance, 0.02**2 / 12, rtol=0.2)
    assert len(learn_rain(plane[:9, :9]).weights) == 1


@pytest.fixture
def command(tmp_path: Path, data_root: Path) -> list[str]:
    sets = {"pairs": {"source": {"layout": "side_by_side", "root": "pairs"}}}
    quality = tmp_path / "quality.yaml"
    quality.write_text(yaml.safe_dump({"sets": sets, "data_root": str(data_root)}))
    return ["evaluate", "--method", "gmm", "--config", str(quality)]


def test_it_is_evaluated(
    tmp_path: Path, data_root: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    assert cli.main([*command, "--save", str(saved)]) == 0
    assert "| pairs | 3 | rgb |" in capsys.readouterr().out
    rainy = read_picture(data_root / "pairs/0.png").rgb[:, 32:]
    assert (read_picture(saved / "pairs/0.png").rgb != rainy).any()
    assert cli.main([*command, "--reference", "r"]) == 2
    assert "--reference r: its teacher is a file" in capsys.readouterr().err


def test_a_missing_scikit_learn_says_what_to_install(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    assert cli.main(command) == 1
    wanted = "sklearn is not installed; run: pip install scikit-learn\n"
    assert capsys.readouterr().err == f"derain: error: {wanted}"
