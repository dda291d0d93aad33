"""``derain-export``: export, verify, scores, errors, and a quick --help."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.checkpoint import Checkpoint, save_checkpoint
from core.inference import derainer_of
from edge_runtime.models.card import load_card, rounded
from export import build
from export.cli import main
from tests.conftest import Refused
from tests.helpers import score_set


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> str:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, checkpoint)
    return str(path)


def test_export_then_verify(saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onnx", saved, "-o", str(tmp_path / "out"), "--name", "first"]) == 0
    artifact = tmp_path / "out" / "first_fp32.onnx"
    assert load_card(artifact).name == "first"
    printed = capsys.readouterr().out
    assert "4 x 4" in printed
    assert printed.splitlines()[-1].startswith(f"{artifact}: ")

    assert main(["verify", str(artifact), "--checkpoint", saved, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(record["passed"] for record in records)
    assert records[0]["limit"] == 1e-5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_behind(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def stopped(*_: object) -> None:
        assert list((tmp_path / "out").iterdir())  # what is staged
        os.kill(os.getpid(), number)

    monkeypatch.setattr(build, "verify", stopped)
    assert main(["onnx", saved, "-o", str(tmp_path / "out")]) == code
    assert list((tmp_path / "out").iterdir()) == []


def test_verify_prints_the_table_and_fails(
    artifact: Path, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 0.01}
    path = tmp_path / "moved.safetensors"
    save_checkpoint(path, dataclasses.replace(checkpoint, weights=weights))
    assert main(["verify", str(artifact), "--checkpoint", str(path)]) == 1
    captured = capsys.readouterr()
    # All but the header, and the golden pair, which is the artifact's own.
    assert captured.out.count("FAILED") == len(captured.out.splitlines()) - 2
    assert captured.err.startswith("derain-export: error: ")
    assert captured.err.count("\n") == 1


def test_a_card_of_other_weights_is_refused(
    saved: str, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", saved]) == 0
    weights = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 0.01}
    save_checkpoint(saved, dataclasses.replace(checkpoint, weights=weights))
    capsys.readouterr()
    assert main(["onnx", saved, "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "sha256 is" in error
    assert error.endswith(f"; or write it again with derain-export card {saved}\n")
    assert not (tmp_path / "out").exists()
    assert main(["card", saved]) == 0
    assert main(["onnx", saved, "-o", str(tmp_path / "out")]) == 0


def test_an_unknown_architecture_is_one_line(saved: str, tmp_path: Path, refused: Refused) -> None:
    key = rb"\"architecture\": \""
    content = Path(saved).read_bytes()
    Path(saved).write_bytes(content.replace(key + b"student", key + b"studnet"))
    said = "architecture 'studnet': unknown; did you mean 'student'?"
    assert refused(main, ["onnx", saved, "-o", str(tmp_path / "out")], said) == 1


def test_nan_becomes_null_in_json(
    artifact: Path, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bias = torch.full_like(checkpoint.weights["exit.bias"], torch.nan)
    path = tmp_path / "nan.safetensors"
    save_checkpoint(
        path, dataclasses.replace(checkpoint, weights={**checkpoint.weights, "exit.bias": bias})
    )
    assert main(["verify", str(artifact), "--checkpoint", str(path), "--json"]) == 1
    record = json.loads(capsys.readouterr().out.splitlines()[0])
    assert record["max_difference"] is None
    assert record["passed"] is False


def test_scores_go_into_the_card(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "dry").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "dry" / "a.png"), picture)
    config = tmp_path / "quality.yaml"
    config.write_text("sets:\n  dry:\n    source:\n      layout: clean\n      root: dry\n")
    options = ["--quality-config", str(config), "--data-root", str(tmp_path / "data")]
    assert main(["onnx", saved, "-o", str(tmp_path), *options]) == 0
    rows = load_card(tmp_path / "tiny_fp32.onnx").quality
    assert [(row.dataset, row.images, row.protocol) for row in rows] == [
        ("dry", 1, "rgb"),
        ("dry", 1, "y"),
    ]
    assert "| dry | 1 | rgb |" in capsys.readouterr().out


def test_cards_of_checkpoints(
    checkpoint: Checkpoint, saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.safetensors"
    save_checkpoint(second, dataclasses.replace(checkpoint, name="second"))
    (tmp_path / "data" / "dry").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "dry" / "a.png"), picture)
    config = tmp_path / "quality.yaml"
    missing = "  other: {source: {layout: clean, root: nowhere}}\n"
    config.write_text(f"sets:\n  dry: {{source: {{layout: clean, root: dry}}}}\n{missing}")
    options = ["--quality-config", str(config), "--data-root", str(tmp_path / "data")]
    assert main(["card", saved, *options]) == 1
    assert "nowhere" in capsys.readouterr().err
    options += ["--sets", "dry"]
    assert main(["card", saved, str(second), *options]) == 0
    out = capsys.readouterr().out
    assert out.count("| dry | 1 | rgb |") == 2
    cards = [load_card(Path(path)) for path in (saved, second)]
    assert [card.name for card in cards] == ["tiny", "second"]
    assert out.splitlines()[-1].startswith(f"{second}.json: second, {cards[1].parameters:,} par")
    clean = cv2.cvtColor(cv2.imread(str(tmp_path / "data/dry/a.png")), cv2.COLOR_BGR2RGB)
    rows = rounded(score_set(derainer_of(checkpoint), "dry", [(clean, clean)]))
    assert cards[0].quality == rows
    assert rows[0].psnr < 100
    halved = score_set(derainer_of(checkpoint, "bf16-mixed"), "dry", [(clean, clean)])
    assert main(["card", saved, *options, "--precision", "auto"]) == 0
    assert main(["card", saved, *options, "--precision", "bf16-mixed"]) == 0
    assert load_card(Path(saved)).quality == rounded(halved) != rows
    assert main(["card", saved, *options]) == 0
    for option, value in (("--precision", "bf16-mixed"), ("--sets", "dry")):
        assert main(["card", saved, option, value]) == 2
        assert f"{option} has no use without --quality-config" in capsys.readouterr().err

    assert main(["card", saved, "-o", str(tmp_path / "card.json")]) == 0
    assert (tmp_path / "card.json").is_file()
    assert main(["card", saved]) == 0
    assert load_card(Path(saved)).quality == rows


def test_the_loss_against_a_teacher_goes_into_cards(
    checkpoint: Checkpoint, saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "dry").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "dry" / "a.png"), picture)
    config = tmp_path / "quality.yaml"
    config.write_text("sets:\n  dry:\n    source:\n      layout: clean\n      root: dry\n")
    teacher, cache = tmp_path / "wise.safetensors", tmp_path / "cache"
    weights = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 0.1}
    save_checkpoint(teacher, dataclasses.replace(checkpoint, name="wise", weights=weights))
    scored = ["--quality-config", str(config), "--data-root", str(tmp_path / "data")]
    options = [*scored, "--teacher", str(teacher), "--cache", str(cache)]

    assert main(["onnx", saved, "-o", str(tmp_path / "out"), *options]) == 0
    out = capsys.readouterr().out
    assert "measured against, not learned from, wise (sha256 " in out
    assert "| data set | protocol | PSNR loss dB | SSIM loss | fidelity dB |" in out
    assert len(list(cache.rglob("*.png"))) == 1
    loss = load_card(tmp_path / "out" / "tiny_fp32.onnx").teacher
    assert loss is not None
    assert loss.sha256 == hashlib.sha256(teacher.read_bytes()).hexdigest()
    assert [row.protocol for row in loss.rows] == ["rgb", "y"]
    assert loss.rows[0].psnr_loss_db < -1  # the teacher is the worse one here
    assert 15 < (loss.rows[0].fidelity_db or 0) < 30

    release = tmp_path / "release.yaml"
    models = f"models:\n  - {{checkpoint: {saved}, format: onnx, precisions: [fp32]}}\n"
    release.write_text(f"teacher: {teacher}\n{models}")
    everything = ["all", str(release), "-o", str(tmp_path / "all"), *scored, "--cache", str(cache)]
    assert main(everything) == 0
    assert load_card(tmp_path / "all" / "tiny_fp32.onnx").teacher == loss

    assert main(["card", saved, *options]) == 0
    assert load_card(Path(saved)).teacher == loss  # fp32 is what torch computes, but for rounding
    assert main(["card", saved]) == 0
    assert load_card(Path(saved)).teacher == loss
    capsys.readouterr()
    for option in ("--teacher", "--cache"):
        assert main(["card", saved, option, "x"]) == 2
        assert f"{option} x has no use without --quality-config" in capsys.readouterr().err
    assert main(["card", saved, *scored, "--teacher", "none.pth"]) == 1
    assert "none.pth: is no checkpoint of this project" in capsys.readouterr().err


def test_one_file_for_two_cards_is_refused(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", saved, saved, "-o", str(tmp_path / "card.json")]) == 2
    assert "takes one card, and there are 2 checkpoints" in capsys.readouterr().err
    assert not (tmp_path / "card.json").exists()


def test_one_wrong_checkpoint_leaves_no_card(saved: str, tmp_path: Path) -> None:
    assert main(["card", saved, str(tmp_path / "none.safetensors")]) == 1
    assert list(tmp_path.glob("*.json")) == []


def test_a_missing_data_set_leaves_no_artifact(saved: str, tmp_path: Path) -> None:
    config = tmp_path / "quality.yaml"
    config.write_text("sets:\n  dry:\n    source:\n      layout: clean\n      root: none\n")
    assert main(["onnx", saved, "-o", str(tmp_path / "o"), "--quality-config", str(config)]) == 1
    assert list((tmp_path / "o").iterdir()) == []


def test_data_root_alone_is_a_usage_error(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["onnx", saved, "-o", str(tmp_path), "--data-root", "data"]) == 2
    assert "--quality-config" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["onnx", "none.safetensors", "-o", "."],
        ["verify", "a.onnx", "--checkpoint", "b"],
        ["card", "none.safetensors"],
    ],
)
def test_missing_files_are_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(main, arguments, "derain-export: error: ") == 1


def test_a_missing_toolchain_names_the_extra(
    saved: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "export"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["onnx", saved, "-o", "."]) == 1
    assert capsys.readouterr().err == (
        "derain-export: error: onnx is not installed; run: pip install onnx\n"
    )


def test_help_loads_no_toolchain() -> None:
    code = (
        "import sys\nfrom export.cli import main\n"
        "try:\n    main(['onnx', '--help'])\n"
        "except SystemExit as stopped:\n    assert stopped.code == 0\n"
        "assert not {'torch', 'onnx', 'numpy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
