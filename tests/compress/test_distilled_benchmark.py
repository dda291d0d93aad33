"""The table of students with and without a teacher says what the runs measured."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmarks import distilled
from compress.distill import DistillConfig
from core.checkpoint import load_checkpoint
from core.config import to_plain
from core.training.state import read_progress


@pytest.fixture
def arguments(
    tmp_path: Path, distill_config: Callable[..., DistillConfig], make_teacher: Callable[..., Path]
) -> list[str]:
    config = to_plain(distill_config(steps=2, validate_every=1))
    path = tmp_path / "controls.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    teacher = make_teacher()
    given = {"--config": path, "--students": path, "--teacher": teacher, "--out": tmp_path / "out"}
    return [*(str(word) for pair in given.items() for word in pair), "--seeds", "3", "5"]


def _final(folder: Path) -> float:
    with (folder / "logs/metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "pairs/rgb_psnr"]
    assert [row["step"] for row in rows] == ["2"]  # validated at its end alone
    return float(rows[0]["value"])


def test_pairs_of_runs_and_their_table(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distilled.main(arguments) == 0
    table = capsys.readouterr().out
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    names = [f"controls_{kind}_{seed}" for kind in ("alone", "taught") for seed in (3, 5)]
    assert folders == names
    scores = [_final(tmp_path / "out" / name) for name in names]
    lines = table.strip().splitlines()
    assert lines[0] == "controls, 2 steps"
    column = [cell.strip() for cell in lines[2].split("|")].index("pairs")
    shown = [line.split("|")[column].strip() for line in lines[4:]]
    one, two = sum(scores[:2]) / 2, sum(scores[2:]) / 2
    assert shown[:-1] == [f"{score:.2f}" for score in (*scores, one, two)]
    gains = [scores[2] - scores[0], scores[3] - scores[1]]
    assert shown[-1] == f"{two - one:+.2f} ± {abs(gains[1] - gains[0]) / 2:.2f}"
    for name, seed in zip(names, (3, 5, 3, 5), strict=True):
        recipe = load_checkpoint(tmp_path / "out" / name / "last.safetensors").recipe[0]
        assert f"seed {seed}" in recipe
        assert recipe.startswith("distill:" if "taught" in name else "train:")

    states = [tmp_path / "out" / name / "state.safetensors" for name in names]
    written = [state.stat().st_mtime_ns for state in states]
    assert distilled.main(arguments) == 0
    assert capsys.readouterr().out == table
    assert [state.stat().st_mtime_ns for state in states] == written
    assert all(read_progress(state)["step"] == 2 for state in states)


def test_a_wrong_teacher_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments[arguments.index("--teacher") + 1] = "nowhere.safetensors"
    assert distilled.main(arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert "distilled: " in lines[-1]
    assert "nowhere.safetensors" in lines[-1]
