import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime import machine
from edge_runtime.models import catalog as models
from edge_runtime.models.card import read_card
from edge_runtime.report import device as report
from edge_runtime.report.cli import main
from edge_runtime.report.device import read_report
from edge_runtime.report.measure import InProcess
from tests.conftest import Refused
from tests.helpers import flat, write_set

FAST = ["--size", "24x16", "--repeats", "1", "--threads", "1"]


@pytest.fixture(autouse=True)
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "peak_memory_of", lambda *_: InProcess(None, 50_000_000))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(write_set(tmp_path / "set", {"light/a": (flat(200), flat(92), flat(96))}))


def test_report_of_two_models(
    folder: str,
    save_model: Callable[..., Path],
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    two = [str(save_model("one", gain=0.5)), str(save_model("two", gain=0.4))]
    assert main([folder, "--model", *two, "--json", "out.json", *FAST]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert "| one.onnx |" in out.out
    found = read_report((here / "out.json").read_text(encoding="utf-8"), "out.json")
    assert [each.file for each in found.artifacts] == ["one.onnx", "two.onnx"]
    assert found.artifacts[0].latency.width == 24
    assert json.loads((here / "out.json").read_text(encoding="utf-8"))["schema"] == 1


def test_without_arguments_the_shipped_models_on_the_shipped_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(FAST) == 0
    out = capsys.readouterr().out
    assert "| small_" in out
    assert "dry/coffee |" in out
    assert "all rain" in out


def test_all_leaves_out_what_no_engine_here_runs(
    save_model: Callable[..., Path],
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there, missing = save_model("there"), save_model("missing")
    cards = [(path, read_card(path)) for path in (there, missing)]
    cards[1] = (missing, dataclasses.replace(cards[1][1], format="tflite", layout="NHWC"))
    monkeypatch.setattr(models, "list_models", lambda: cards)
    monkeypatch.setattr(machine, "installed_engines", lambda: {"onnx": "onnxruntime 1"})
    assert main([folder, "--all", *FAST]) == 0
    out = capsys.readouterr()
    assert "| there.onnx |" in out.out
    assert "missing.onnx" not in out.out
    assert "missing.onnx left out: ai-edge-litert is not installed; run: pip install" in out.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: no reference set"),
        (["--model", "smal"], 2, "did you mean 'small"),
        (["--json", "missing/out.json"], 2, "--json missing/out.json: cannot be written"),
    ],
)
def test_errors_are_one_line(
    here: Path, refused: Refused, arguments: list[str], code: int, message: str
) -> None:
    assert refused(main, [*arguments, *FAST], message) == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "720p"], "must be WIDTHxHEIGHT"),
        (["--size", "0x7"], "must be WIDTHxHEIGHT"),
        (["--minutes", "0"], "must be a number of minutes above 0"),
        (["--threads", "0"], "of at least 1"),
        (["--all", "--model", "small"], "not allowed with"),
    ],
)
def test_wrong_options_are_explained(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
