"""Engines on the command line, through the console script."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import cli
from edge_runtime import options as cli_options
from edge_runtime.models import catalog as models
from edge_runtime.models.catalog import PRECISIONS
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from edge_runtime.report.cli import main as report_main

SaveModel = Callable[..., Path]
SCRIPT = shutil.which("edge-derain", path=Path(sys.executable).parent)


_QUICK_TUNE = """
import sys
from edge_runtime.report import tune
from edge_runtime.report.cli import main
tune.tune.__kwdefaults__["seconds"] = 0.0
raise SystemExit(main(["--tune", "nano", "--json", sys.argv[1]]))
"""


def _script(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    assert SCRIPT is not None
    return subprocess.run(
        [SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture
def shelf(here: Path, save_model: SaveModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two artifacts of one name."""
    save_model("small_fp32", folder=here, name="small")
    save_model("small_int8", folder=here, name="small", precision="int8", gain=0.5)
    for function in (models.list_models, models.find_model):
        monkeypatch.setattr(function, "__defaults__", (here,))
    write_picture("a.png", Picture(np.full((4, 4, 3), 100, np.uint8)))
    return here


def test_the_choices_are_those_that_there_are() -> None:
    assert set(cli_options.PRECISIONS) == {"auto", *PRECISIONS}


def test_scale_and_ensemble(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halved = ("a.png", "--precision", "int8", "--force", "-o", "b.png")
    for options, left in (((), 50), (("--scale", "2"), 25), (("--ensemble",), 50)):
        assert cli.main([*halved, *options]) == 0
        np.testing.assert_array_equal(read_picture("b.png").rgb, left)
    assert cli.main([*halved, "--scale", "3"]) == 2
    assert "scale 3: must be 1, 2, 4, 8, 16 or 'auto'" in capsys.readouterr().err


def test_precision_and_file(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["a.png"]) == 0
    assert cli.main(["a.png", "--precision", "int8"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("small fp32 · 4x4 · ")
    assert first.endswith(" ms · CPUExecutionProvider · a_derained.png")
    assert second.startswith("small int8 · 4x4 · ")
    assert cli.main(["a.png", "--model", "small_int8.onnx"]) == 0
    assert capsys.readouterr().out.startswith("small int8 · ")
    assert cli.main(["a.png", "--precision", "dynamic"]) == 2
    error = capsys.readouterr().err
    assert "model 'small': not there as dynamic; there is: fp32 onnx, int8 onnx" in error


def test_a_real_script_knows_a_wrong_wish(here: Path, model: str) -> None:
    write_picture("a.png", Picture(np.full((4, 4, 3), 100, np.uint8)))
    done = _script("a.png", "--model", model, "--precision", "int8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("not there as int8; there is: fp32 onnx\n")
    done = _script("a.png", "--model", model, "--precision", "fp32")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" ms · CPUExecutionProvider · a_derained.png\n")


def test_tuning_is_remembered_for_the_next_time(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", _QUICK_TUNE, str(tmp_path / "tuned.json")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    records = json.loads((tmp_path / "tuned.json").read_text())
    assert sum(record["chosen"] for record in records) >= 1
    (chosen,) = {record["path"] for record in records if record["chosen"]}
    remembered = json.loads((tmp_path / "cache" / "edge-derain" / "tune.json").read_text())
    assert [entry["milliseconds"] for entry in remembered] == pytest.approx(
        [record["milliseconds"] for record in records], abs=1e-3
    )
    write_picture(tmp_path / "a.png", Picture(np.full((4, 4, 3), 100, np.uint8)))
    done = _script(tmp_path / "a.png", "--model", "nano", "--json", **environment)
    precision = json.loads(done.stdout)["precision"]
    assert precision in Path(chosen).stem


def test_a_home_that_is_read_only_is_a_warning(
    shelf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_runtime.report import tune

    (shelf / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shelf / "file"))
    monkeypatch.setattr(tune.tune, "__defaults__", (shelf,))
    monkeypatch.setitem(tune.tune.__kwdefaults__, "seconds", 0.0)
    assert report_main(["--tune"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("edge-report: warning: ")
    assert len(err.splitlines()) == 1
    assert out.splitlines()[-1] == "--model small now takes small_fp32.onnx"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--tune"], "--tune takes neither DIR, --threads nor --minutes"),
        (["--tune", "--threads", "2"], "--tune takes neither DIR, --threads nor --minutes"),
        (["--tune", "no"], "--tune 'no': no model has this name; there are: "),
    ],
)
def test_what_does_not_go_together(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert report_main(arguments) == 2
    assert message in capsys.readouterr().err
