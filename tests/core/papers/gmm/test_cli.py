import json
import sys
from pathlib import Path

import pytest
import yaml

from core import cli
from core.papers.gmm import mixture
from edge_runtime.pictures.picture import read_picture


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
    assert cli.main([*command, "--iterations", "1", *written]) == 0
    assert "| pairs | 3 | rgb |" in capsys.readouterr().out
    rows = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert [(row["dataset"], row["protocol"]) for row in rows] == [("pairs", "rgb"), ("pairs", "y")]
    once = read_picture(Path("saved/pairs/0.png")).rgb
    assert cli.main([*command, "--iterations", "2", "--save", "twice"]) == 0
    assert (read_picture(Path("twice/pairs/0.png")).rgb != once).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "gmm", "--reference", "r"], "--reference r: its teacher is a file"),
        (["--method", "gmm", "--iterations", "0"], "iterations 0 must be at least 1"),
        (["--checkpoint", "small", "--iterations", "2"], "--iterations 2 goes with --method gmm"),
    ],
)
def test_wrong_options(
    quality: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["evaluate", "--config", quality, *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


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
