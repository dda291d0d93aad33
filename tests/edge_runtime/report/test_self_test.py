"""``edge-derain --self-test``: what is tested, what is not, and what fails."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.derainer import Derainer
from edge_runtime.models.card import card_path, load_card, read_card, write_card
from edge_runtime.report import self_test as module
from edge_runtime.report.golden import make_golden

Save = Callable[..., Path]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that stands for that of the shipped artifacts."""
    folder = tmp_path / "weights"
    folder.mkdir()
    listed = module.list_models
    monkeypatch.setattr(module, "list_models", lambda: listed(folder))
    return folder


@pytest.fixture
def save_golden(save_model: Save, shipped: Path) -> Save:
    def save(stem: str, *, gain: float = 0.5, **changes: object) -> Path:
        path = save_model(stem, folder=shipped, gain=gain, **changes)
        card = dataclasses.replace(load_card(path), golden=make_golden(Derainer.load(path)))
        write_card(path, card)
        return path

    return save


def swap_function(path: Path, save_model: Save) -> None:
    """Put another function in the place of an artifact, with the card of the first."""
    card = read_card(path)
    save_model(path.stem, folder=path.parent, gain=0.4)
    write_card(path, card)


def test_all_that_ship_are_tested(save_golden: Save, capsys: pytest.CaptureFixture[str]) -> None:
    save_golden("echo_fp32")
    save_golden("other_fp32", name="other", gain=0.7)
    assert main(["--self-test"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    header, *lines = captured.out.splitlines()
    assert header.split() == ["artifact", "engine", "result", "largest", "rms"]
    assert [line.split()[0] for line in lines] == ["echo_fp32.onnx", "other_fp32.onnx"]
    assert all("onnxruntime" in line and "identical" in line for line in lines)


def test_one_model_in_all_its_precisions(
    save_golden: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    save_golden("echo_fp32")
    save_golden("echo_fp16", precision="fp16")
    save_golden("other_fp32", name="other")
    for model, wanted in (
        ("echo", ["fp16", "fp32"]),
        ("echo_fp16", ["fp16"]),
    ):
        assert main(["--self-test", "--model", model, "--json"]) == 0
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [record["precision"] for record in records] == wanted
        assert {record["state"] for record in records} == {"passed"}


def test_another_function_fails_and_the_others_are_tested_still(
    save_golden: Save, save_model: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = save_golden("a_fp32")
    swap_function(wrong, save_model)
    save_golden("b_fp32")
    assert main(["--self-test", "--json"]) == 1
    captured = capsys.readouterr()
    failed, passed = [json.loads(line) for line in captured.out.splitlines()]
    assert (failed["state"], passed["state"]) == ("failed", "passed")
    assert failed["largest"] > failed["largest_limit"] == 1
    assert captured.err.startswith(f"edge-derain: error: {wrong}: computes something else")
    assert captured.err.count("\n") == 1


def test_a_tampered_artifact_fails(save_golden: Save, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_golden("echo_fp32")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["--self-test", "--model", str(path)]) == 1
    assert "sha256" in capsys.readouterr().err


def test_without_a_golden_pair_nothing_is_proven(
    save_golden: Save, save_model: Save, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = save_model("bare_fp32", folder=shipped)
    assert main(["--self-test"]) == 1
    error = capsys.readouterr().err
    assert f"not tested: {bare}: its card has no golden pair" in error
    assert error.endswith("--self-test: nothing was tested\n")
    save_golden("echo_fp32")
    assert main(["--self-test", "--json"]) == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["untested", "passed"]


def test_a_missing_engine_is_no_failure(
    save_golden: Save, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_golden("echo_fp32")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["--self-test"]) == 1
    error = capsys.readouterr().err
    assert "not tested: onnxruntime is not installed; run: pip install" in error
    assert "nothing was tested" in error


def test_a_card_that_is_none_ends_it(save_golden: Save, capsys: pytest.CaptureFixture[str]) -> None:
    card_path(save_golden("echo_fp32")).write_text("{}")
    assert main(["--self-test"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_pictures_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--self-test", "a.png"]) == 2
    assert "takes no IMAGE" in capsys.readouterr().err
