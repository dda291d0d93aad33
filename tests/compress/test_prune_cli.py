"""``compress prune``: a smaller checkpoint, options, and errors of one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from compress.cli import main
from core.checkpoint import load_checkpoint

WIDE = {"widths": [16, 24], "encoder_blocks": [1, 1], "decoder_blocks": [1]}


@pytest.fixture
def wide(make_teacher: Callable[..., Path]) -> str:
    return str(make_teacher("student", **WIDE))


def test_it_writes_a_smaller_checkpoint(
    wide: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thin.safetensors"
    assert main(["prune", "--checkpoint", wide, "--target-macs", "0.5", "-o", str(out)]) == 0
    line = capsys.readouterr().out
    assert line.startswith("thin: ")
    assert line.count("kMAC/pixel") == 2
    assert str(out) in line
    assert load_checkpoint(out).name == "thin"


def test_the_name_is_made_of_the_old_one(
    wide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prune", "--checkpoint", wide, "--target-bytes", "24000"]) == 0
    assert load_checkpoint("./wise_pruned.safetensors").name == "wise_pruned"


def test_options_of_the_training_follow(
    make_teacher: Callable[..., Path],
    train_values: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The file is that of another network: what is pruned takes its place.
    place = str(make_teacher("gan_lstm", width=16))
    file, out = tmp_path / "run.yaml", tmp_path / "thin.safetensors"
    file.write_text(yaml.safe_dump(train_values), encoding="utf-8")
    command = ["prune", "--checkpoint", place, "--target-macs", "0.8", "--rounds", "1"]
    command += ["--batches", "1", "--config", str(file), "--steps", "1", "-o", str(out)]
    assert main(command) == 0
    assert "1 steps, best score" in capsys.readouterr().out
    recipe = load_checkpoint(out).recipe
    assert recipe[-1].startswith("distill: gan_lstm from thin, 1 of 1 steps")
    assert (tmp_path / "runs" / "thin" / "round1" / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "nothing to prune to"),
        (("--target-macs", "0.001"), 2, "the smallest within reach"),
        (("--target-macs", "0.5", "--importance", "taylor"), 2, "give --config FILE, or take l2"),
        (("--target-macs", "0.5", "--steps", "9"), 2, "--steps has no use without training"),
        (("--target-macs", "0.5", "-o", "{wide}"), 2, "exists already; name another with -o"),
        (("--target-macs", "0.5", "--config", "none.yaml"), 2, "none.yaml: cannot be read"),
        (("--target-macs", "0.5", "--config", "{wide}.yaml", "--stepz", "9"), 2, "stepz"),
    ],
)
def test_errors_are_one_line_and_write_nothing(
    options: tuple[str, ...],
    code: int,
    message: str,
    wide: str,
    train_values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{wide}.yaml").write_text(yaml.safe_dump(train_values), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    given = [option.replace("{wide}", wide) for option in options]
    assert main(["prune", "--checkpoint", wide, *given]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("compress: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_checkpoint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--checkpoint", "./none.safetensors", "--stages", "1"]) == 1
    assert "none.safetensors: cannot be read" in capsys.readouterr().err


def test_help_names_the_options_of_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["prune", "--help"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    assert "--target-macs" in help_text
    assert "--data-root" in help_text
