"""The benchmark of memory runs whole and tiled, in both engines, and says which artifact it was."""

import sys

import pytest

from benchmarks import memory
from edge_runtime.errors import UsageError


def test_each_engine_runs_its_own_float_artifact() -> None:
    assert memory.shipped("small", "onnx", "float").name == "small_fp32.onnx"
    assert memory.shipped("small", "tflite", "float").name == "small_fp16.tflite"
    assert memory.shipped("nano", "tflite", "int8").name == "nano_int8.tflite"
    with pytest.raises(UsageError, match="--model huge: no float artifact for onnx ships"):
        memory.shipped("huge", "onnx", "float")


def test_lines_are_whole_and_tiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "nano", "--backends", "tflite", "--rounds", "1", "--whole-up-to", "0.03"]
    options += ["--megapixels", "0.03", "0.05", "--tiles", "0", "auto"]
    monkeypatch.setattr(sys, "argv", ["memory.py", *options])
    memory.main()
    lines = capsys.readouterr().out.splitlines()
    assert "threads: 1; --scale 1; medians of 1 rounds." in lines[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:]]
    assert [row[:3] for row in cells] == [
        ["nano_fp16.tflite", "0.03", "whole"],
        ["nano_fp16.tflite", "0.03", "auto"],
        ["nano_fp16.tflite", "0.05", "auto"],
    ]
    assert cells[0][5] == "1.00"
    assert all(float(row[3]) > 0 and float(row[4]) > 0 and float(row[6]) > 50 for row in cells)


def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memory.py", "--model", "huge"])
    with pytest.raises(SystemExit) as stopped:
        memory.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("memory.py: error: --model huge: ")
