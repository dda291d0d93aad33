"""The benchmark that compares two files is fair: both run in turn, on the same size."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare
from edge_runtime.models import find_model


def test_runs_are_interleaved_and_the_order_turns_round() -> None:
    now, order = [0.0], []

    def run(name: str, seconds: float) -> compare.Run:
        def once() -> None:
            order.append(name)
            now[0] += seconds

        return once

    times = compare.interleaved([run("a", 1.0), run("b", 3.0)], 3, 1, lambda: now[0])
    assert "".join(order) == "abbaabba"
    np.testing.assert_array_equal(times, [[1.0, 3.0]] * 3)


def test_files_with_and_without_a_card_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = find_model("small_fp32")
    theirs = tmp_path / "theirs.onnx"
    theirs.write_bytes(ours.read_bytes())
    options = ["--sizes", "40x24", "--rounds", "2", "--multiple", "16"]
    monkeypatch.setattr(sys, "argv", ["compare.py", str(ours), str(theirs), *options])
    compare.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("small_fp32.onnx and theirs.onnx, 1 threads, 2 rounds after 2")
    assert lines[-1].startswith("| 40 x 24 |")
    ratio, spread = lines[-1].split("|")[4:6]
    low, _, high = spread.split()
    assert 0 < float(low) <= float(ratio) <= float(high)


def test_a_shape_that_does_not_fit_is_named() -> None:
    with pytest.raises(SystemExit, match=r"x\.onnx: takes \[1, 3, 8, 8\], which \[1, 3, 9, 8\]"):
        compare._check(Path("x.onnx"), [1, 3, 8, 8], (1, 3, 9, 8))
    compare._check(Path("x.onnx"), ["n", 3, "h", None], (1, 3, 9, 8))
    compare._check(Path("x.tflite"), np.array([1, -1, -1, 3]), (1, 9, 8, 3))
