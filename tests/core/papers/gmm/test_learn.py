from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from core import cli
from core.errors import ConfigError, DataError
from core.pairs import SourceConfig
from core.papers.gmm import mixture
from core.papers.gmm.learn import PriorConfig, fit, flattest, learn_background, learn_rain, luma
from edge_runtime.pictures.picture import Picture, read_picture, write_picture


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
    found = fit(np.concatenate(draws).astype(np.float32), 2, 20, 0)
    order = found.means[:, 0].argsort()
    np.testing.assert_allclose(found.weights[order], [0.75, 0.25], atol=1e-3)
    np.testing.assert_allclose(found.means[order], [[-2, -2], [3, 3]], atol=0.05)
    diagonals = np.stack([np.diag(c) for c in found.covariances[order]])
    np.testing.assert_allclose(diagonals, [[0.01, 0.01], [0.25, 0.25]], rtol=0.15)
    assert found.weights.dtype == found.means.dtype == found.covariances.dtype == np.float32


def test_too_few_patches_are_refused() -> None:
    with pytest.raises(DataError, match="3 patches are too few for 4 components"):
        fit(np.zeros((3, 64), np.float32), 4, 1, 0)


def test_rain_is_learned_where_nothing_else_varies() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((120, 140)).astype(np.float32)
    plane[8:112, 20:130] = 0.5 + 0.02 * rng.random((104, 110))
    found = learn_rain(plane)
    variance = np.trace(found.covariances, axis1=1, axis2=2) / 64
    np.testing.assert_allclose(variance, 0.02**2 / 12, rtol=0.2)
    assert len(learn_rain(plane[:9, :9]).weights) == 1


def test_background_is_learned_from_clean_halves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = (100 + 10 * rng.integers(0, 2, (16, 20, 1))).repeat(3, axis=2).astype(np.uint8)
    rainy = rng.integers(0, 256, clean.shape, np.uint8)
    write_picture(tmp_path / "1.png", Picture(np.hstack([clean, rainy])))
    pairs = SourceConfig("side_by_side", root=".")
    config = PriorConfig((pairs,), str(tmp_path), components=2, patches=400, steps=3)
    found = learn_background(config, progress=False)
    assert found.means.shape == (2, 64)
    assert found.variance == pytest.approx((5 / 255) ** 2, rel=0.1)
    np.testing.assert_allclose(found.means.sum(axis=1), 0, atol=1e-4)
    again = learn_background(config, progress=False)
    np.testing.assert_array_equal(found.covariances, again.covariances)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": ()}, "sources is empty"),
        ({"components": 0}, "components 0 must be at least 1"),
        ({"components": 5, "patches": 9}, "patches 9 must be at least 10"),
        ({"steps": 0}, "steps 0 must be at least 1"),
    ],
)
def test_wrong_configs(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PriorConfig(**{"sources": (SourceConfig("clean", root="dry"),), **values})


@pytest.fixture
def config(tmp_path: Path, data_root: Path) -> str:
    values = {
        "data_root": str(data_root),
        "sources": [{"layout": "clean", "root": "dry"}],
        "components": 2,
        "patches": 60,
        "steps": 2,
    }
    (tmp_path / "prior.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(tmp_path / "prior.yaml")


@pytest.fixture
def quality(tmp_path: Path) -> str:
    sets = {"pairs": {"source": {"layout": "side_by_side", "root": "pairs"}}}
    (tmp_path / "quality.yaml").write_text(yaml.safe_dump({"sets": sets}), encoding="utf-8")
    return str(tmp_path / "quality.yaml")


def test_learn_and_evaluate(
    tmp_path: Path,
    data_root: Path,
    config: str,
    quality: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "prior.safetensors"
    assert cli.main(["gmm-prior", "--config", config, "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"2 components, 4,290 numbers: {out}\n"
    monkeypatch.setattr(mixture.load_background, "__defaults__", (out,))
    command = ["evaluate", "--method", "gmm", "--config", quality, "--data-root", str(data_root)]
    written = ["--csv", "a.csv", "--json", "a.json", "--save", "saved"]
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, *written]) == 0
    assert "| pairs | 3 | rgb |" in capsys.readouterr().out
    rows = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert [(row["dataset"], row["protocol"]) for row in rows] == [("pairs", "rgb"), ("pairs", "y")]
    rainy = read_picture(data_root / "pairs/0.png").rgb[:, 32:]
    assert (read_picture(Path("saved/pairs/0.png")).rgb != rainy).any()
    assert cli.main([*command, "--reference", "r"]) == 2
    assert "--reference r: its teacher is a file" in capsys.readouterr().err


def test_a_missing_scikit_learn_says_what_to_install(
    data_root: Path, quality: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    command = ["evaluate", "--method", "gmm", "--config", quality, "--data-root", str(data_root)]
    assert cli.main(command) == 1
    wanted = "sklearn is not installed; run: pip install 'edge-derain[train]'\n"
    assert capsys.readouterr().err == f"derain: error: {wanted}"


def test_a_prior_goes_to_a_folder_that_is_there(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["gmm-prior", "--config", config, "-o", "none/a.safetensors"]) == 2
    assert "-o none/a.safetensors: none is no folder" in capsys.readouterr().err
