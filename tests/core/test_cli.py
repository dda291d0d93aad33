import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from core import cli
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.evaluation import evaluate
from core.inference import derainer_of
from core.networks.student import StudentConfig, StudentNet
from core.pairs import SourceConfig
from core.training.learner import Learner
from edge_runtime.pictures.picture import Picture, read_picture, write_picture

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config_file(tmp_path: Path, train_values: dict[str, Any]) -> Callable[..., str]:
    def write(**changes: Any) -> str:
        path = tmp_path / "train.yaml"
        path.write_text(yaml.safe_dump({**train_values, **changes}), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def quality_file(tmp_path: Path) -> str:
    sets = {
        "pairs": {"source": {"layout": "side_by_side", "root": "pairs"}},
        "dry": {"source": {"layout": "clean", "root": "dry"}},
    }
    (tmp_path / "quality.yaml").write_text(yaml.safe_dump({"sets": sets}), encoding="utf-8")
    return str(tmp_path / "quality.yaml")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("derain: error: ")
    assert err.count("\n") == 1
    return err


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    done = _python(
        "import sys\nfrom core.cli import main\ncode = main(['--help'])\n"
        "heavy = {'torch', 'lightning', 'jsonargparse', 'numpy', 'cv2'} & set(sys.modules)\n"
        "sys.exit(code if not heavy else str(heavy))"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "derain train --config" in done.stdout


def test_no_command_and_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: derain" in capsys.readouterr().err
    assert cli.main(["trian"]) == 2
    assert "unknown command 'trian'; there are train, evaluate" in _error(capsys)


def test_a_missing_extra_says_what_to_install() -> None:
    packages = ("torch", "safetensors", "jsonargparse", "lightning")
    done = _python(
        "import sys\nfrom core.cli import main\n"
        f"for package in {packages!r}:\n"
        "    sys.modules[package] = None\n"
        "    assert main(['train', '--config', 'x.yaml']) == 1\n"
        "    del sys.modules[package]\n"
        "    for name in [n for n in sys.modules if n.startswith('core.')]:\n"
        "        del sys.modules[name]\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"derain: error: {package} is not installed; run: pip install {package}"
        for package in packages
    ]


def test_train_interrupt_resume_and_evaluate(
    config_file,
    quality_file: str,
    data_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update = Learner.update

    def updated(self: Learner, batch: Any, step: int) -> Any:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return update(self, batch, step)

    values = ["train", "--config", config_file(data_root="elsewhere", precision="bf16-mixed")]
    values += ["--data-root", str(data_root), "--save-every=3"]
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", updated)
        assert cli.main(values) == 128 + signal.SIGTERM
    folder = tmp_path / "runs/tiny"
    out, _ = capsys.readouterr()
    assert out.splitlines()[-1] == (
        f"stopped after step 3 of 4, saved in {folder}; the same command with --resume goes on"
    )

    assert cli.main([*values, "--resume"]) == 0
    out, err = capsys.readouterr()
    assert "\n4 steps, best score " in out
    assert re.search(
        rf" dB: {re.escape(str(folder / 'best.safetensors'))} "
        r"\(\d+% of the time spent waiting for data\); curves and pictures are in .*logs\n$",
        out,
    )
    assert err.count("\r") <= 4
    assert cli.main(values) == 2
    assert "holds a run already; add --resume" in _error(capsys)

    best, rows = str(folder / "best.safetensors"), tmp_path / "rows.json"
    values = ["evaluate", "--checkpoint", best, "--config", quality_file, "--sets", "pairs"]
    assert cli.main([*values, "--data-root", str(data_root), "--json", str(rows)]) == 0
    out, _ = capsys.readouterr()
    *table, empty, score = out.splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| pairs", "| pairs"]
    assert not empty
    assert re.fullmatch(r"score [+-]\d+\.\d\d dB", score)
    found = json.loads(rows.read_text())
    assert [(row["dataset"], row["images"], row["protocol"]) for row in found] == [
        ("pairs", 3, "rgb"),
        ("pairs", 3, "y"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--config", "none.yaml"], "--config none.yaml: cannot be read (No such file", 2),
        (["--config", "FILE", "--stpes", "3"], "did you mean 'steps'?", 2),
        (["--config", "FILE", "--resume"], "--resume: there is no ", 2),
        (
            ["--config", "FILE", "--data-root", "none"],
            "no such folder; is the path, or --data-root, right?",
            1,
        ),
        (["--config", "FILE", "--init", "none"], "'none': unknown; ", 1),
        (["--config", "FILE", "--loss.l1", "0"], "one must be above 0", 2),
        (["--config", "FILE", "--mixture.crop", "18"], "is not a multiple of 4", 2),
        (
            ["--config", "FILE", "--mixture.generated.pool", "few"],
            "must be a whole number, got few",
            2,
        ),
    ],
)
def test_wrong_training_is_one_line(
    config_file, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str, code: int
) -> None:
    path = config_file()
    assert cli.main(["train", *(path if a == "FILE" else a for a in arguments)]) == code
    assert message in _error(capsys)


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--checkpoint", "none"], "'none': unknown; ", 1),
        (["--model", "none/x.onnx"], "model none/x.onnx: no such file", 2),
        (["--model", "small", "--sets", "pears"], "data set 'pears': unknown; did you mean", 2),
    ],
)
def test_wrong_evaluation_is_one_line(
    quality_file: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
    code: int,
) -> None:
    assert cli.main(["evaluate", "--config", quality_file, *arguments]) == code
    assert message in _error(capsys)


def test_a_log_file_holds_nothing_but_the_bar(config_file, tmp_path: Path) -> None:
    # Logging leaves an installed TensorFlow alone.
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was loaded')")
    done = _python(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom core.cli import main\n"
        f"sys.exit(main(['train', '--config', {config_file(precision='bf16-mixed')!r}]))"
    )
    assert done.returncode == 0
    assert 1 <= len(done.stderr.split("\r")) <= 5
    for line in done.stderr.replace("\r", "\n").split("\n"):
        assert not line or line.startswith("tiny: ")


def test_ctrl_c_while_data_is_read(
    config_file, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "core.training.train.MixtureDataset", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    assert cli.main(["train", "--config", config_file()]) == 130
    assert capsys.readouterr().err == "derain: interrupted; the same command begins anew\n"


@pytest.fixture
def fresh(tmp_path: Path) -> str:
    """A checkpoint whose network leaves pictures as they are."""
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    weights = StudentNet(config).state_dict()
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, Checkpoint("a", "student", "student", config, weights))
    return str(path)


def test_a_downloaded_set_needs_no_config(
    tmp_path: Path,
    picture,
    fresh: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("rain/1.png", "norain/1gt.png"):
        (tmp_path / name).parent.mkdir()
        write_picture(tmp_path / name, Picture(picture(12, 14)))
    command = ["evaluate", "--checkpoint", fresh]
    assert cli.main([*command, "--root", str(tmp_path)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[2] == f"| {tmp_path.name} | 1 | rgb | 100.00 | 100.00 | 1.0000 | 1.0000 |"
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "--root", "."]) == 0
    assert capsys.readouterr().out.splitlines() == table
    assert cli.main([*command, "--root", ".", "--dataset", "SPA"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| spa | 1 | rgb | 100.00 ")
    assert cli.main([*command, "--root", str(tmp_path / "rain")]) == 1
    assert "no published layout" in _error(capsys)
    for extra in (["--sets", "a"], ["--data-root", "b"]):
        assert cli.main([*command, "--root", str(tmp_path), *extra]) == 2
        assert "--data-root and --sets go with --config" in _error(capsys)


def test_evaluate_writes_scores_and_pictures(
    quality_file: str,
    data_root: Path,
    fresh: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["evaluate", "--checkpoint", fresh, "--config", quality_file]
    command += ["--data-root", str(data_root), "--sets", "pairs"]
    table, out = tmp_path / "scores.csv", tmp_path / "out"
    assert cli.main([*command, "--csv", str(table), "--save", str(out)]) == 0
    printed = capsys.readouterr().out
    lines = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [line["picture"] for line in lines] == ["0.png", "1.png", "2.png"]
    mean = sum(float(line["rgb_psnr"]) for line in lines) / 3
    assert f"| pairs | 3 | rgb | {mean:.2f} | {mean:.2f} |" in printed
    for index in range(3):
        rainy = read_picture(data_root / f"pairs/{index}.png").rgb[:, 32:]
        np.testing.assert_array_equal(read_picture(out / f"pairs/{index}.png").rgb, rainy)

    assert cli.main([*command, "--save", str(out)]) == 2
    assert "pairs/0.png exists already; add --force" in _error(capsys)
    (out / "pairs/1.png").write_bytes(b"")
    assert cli.main([*command, "--save", str(out), "--force"]) == 0
    assert (out / "pairs/1.png").stat().st_size > 0


def test_a_partial_evaluation_leaves_no_scores(
    quality_file: str, data_root: Path, fresh: str, tmp_path: Path, capsys, picture
) -> None:
    write_picture(data_root / "pairs/3.png", Picture(picture(20, 33)))
    command = ["evaluate", "--checkpoint", fresh, "--config", quality_file]
    outputs = ["--csv", str(tmp_path / "a.csv"), "--json", str(tmp_path / "a.json")]
    assert cli.main([*command, "--data-root", str(data_root), *outputs]) == 1
    assert "3.png: width 33 is odd" in _error(capsys)
    assert not list(tmp_path.glob("a.csv")) + list(tmp_path.glob("a.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--root", "x", "--dataset", "rain10h"], "'rain10h': unknown; did you mean 'rain100h'?"),
        (["--config", "x", "--dataset", "spa"], "--dataset spa says what --root DIR holds"),
        (["--root", "x", "--csv", "none/a.csv"], "--csv none/a.csv: none is no folder"),
        (["--root", "x", "--json", "none/a.json"], "--json none/a.json: none is no folder"),
    ],
)
def test_wrong_options_of_evaluate(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["evaluate", "--checkpoint", "small", *arguments]) == 2
    assert message in _error(capsys)


@pytest.mark.parametrize("precision", ["bf16-mixed", "auto"])
def test_half_precision_is_for_checkpoints(
    quality_file: str,
    data_root: Path,
    fresh: str,
    capsys: pytest.CaptureFixture[str],
    precision: str,
) -> None:
    scored = ["--config", quality_file, "--data-root", str(data_root), "--sets", "pairs"]
    half = ["--precision", precision]
    assert cli.main(["evaluate", "--checkpoint", fresh, *scored, *half]) == 0
    assert "| pairs | 3 | rgb |" in capsys.readouterr().out
    assert cli.main(["evaluate", "--model", "small", *scored, *half]) == 2
    assert f"--precision {precision} goes with --checkpoint; leave it out" in _error(capsys)


def test_views_of_a_checkpoint_are_averaged(
    quality_file: str,
    data_root: Path,
    fresh: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scored = ["--config", quality_file, "--data-root", str(data_root), "--sets", "pairs"]
    scored += ["--views", "4"]
    checkpoint = load_checkpoint(fresh)
    weights = {
        name: weight + 0.05 * torch.rand_like(weight) for name, weight in checkpoint.weights.items()
    }
    changed = dataclasses.replace(checkpoint, weights=weights)
    save_checkpoint(fresh, changed)
    saved = tmp_path / "four"
    assert cli.main(["evaluate", "--checkpoint", fresh, *scored, "--save", str(saved)]) == 0
    pairs = evaluate.TestSetConfig(SourceConfig("side_by_side", root="pairs"))
    _, rainy, _ = next(iter(pairs.read(data_root)))
    written = read_picture(sorted(saved.rglob("*.png"))[0]).rgb
    np.testing.assert_array_equal(written, derainer_of(changed, views=4)(rainy))
    assert not np.array_equal(written, derainer_of(changed)(rainy))
    capsys.readouterr()
    assert cli.main(["evaluate", "--model", "small", *scored]) == 2
    assert "--views 4 goes with --checkpoint; leave it out" in _error(capsys)
    reference = [*scored, "--reference", str(tmp_path / "reference")]
    assert cli.main(["evaluate", "--checkpoint", fresh, *reference]) == 2
    assert "--views 4: the teacher of a reference set is one pass of one file" in _error(capsys)


def test_table_of_checkpoints(fresh: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", fresh]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[3].startswith("| a | student | – |")
    assert err == (
        f"derain: {fresh}: no card; make it: derain-export card {fresh} "
        "--quality-config configs/quality.yaml --data-root data\n"
    )
    assert cli.main(["table", "smal"]) == 1
    assert "'smal': unknown; did you mean 'small'" in _error(capsys)
