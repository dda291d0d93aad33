"""The benchmark that compares two files is fair: both run in turn, on the same size."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare
from edge_runtime.models.catalog import find_model


def test_runs_are_interleaved_and_the_order_turns_round() -> None:
    now, order = [0.0], []

    def run(name: str, seconds: float) -> compare.Run:
        def once() -> None:
            order.append(name)
            now[0] += seconds

        return once

    runs = [run("a", 1.0), run("b", 3.0), run("c", 5.0)]
    times = compare.interleaved(runs, 3, 1, (lambda: now[0], lambda: now[0] / 2))
    assert "".join(order) == "abccbaabccba"
    np.testing.assert_array_equal(times, [[[1.0, 3.0, 5.0]] * 3, [[0.5, 1.5, 2.5]] * 3])


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is half as fast in the second round, and the third is cut short for one file:
    # a ratio of medians would say 2.
    clock = [[1.0, 2.0], [2.0, 6.0], [3.0, 3.0]]
    cells = compare.told(np.array([clock, [[1.0, 4.0]] * 3]), 1)
    assert cells == ["3000.0", "4000.0", "2.00", "1.50 to 2.50", "4.00", "4.00 to 4.00"]
    assert compare.told(np.array([clock, clock]), 0)[2:] == ["1.00", "1.00 to 1.00"] * 2


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
    assert "threads: 1; medians of 2 rounds after 2." in lines[0]
    assert lines[-2].startswith("| 40 x 24 | small_fp32.onnx | ")
    assert "| 1.00 | 1.00 to 1.00 | 1.00 | 1.00 to 1.00 |" in lines[-2]
    assert lines[-1].startswith("| 40 x 24 | theirs.onnx | ")
    ratio, spread = lines[-1].split("|")[5:7]
    low, _, high = spread.split()
    assert 0 < float(low) <= float(ratio) <= float(high)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--sizes", "1280"], 2, "--sizes: must be WIDTHxHEIGHT, such as 1280x720"),
        ([], 1, "compare.py: error: .*no card|compare.py: error: .*"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    said: str,
) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(b"no model")
    (tmp_path / "torn.onnx.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["compare.py", str(torn), str(torn), *options])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    assert stopped.value.code == code
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize(
    "file", ["small_fp32.onnx", "small_fp16.tflite", "torn.onnx", "gone.tflite"]
)
def test_a_file_without_a_card_that_does_not_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    path = tmp_path / file
    if file.startswith("small"):
        path.write_bytes((find_model("small_fp32").parent / file).read_bytes())
    elif file == "torn.onnx":
        path.write_bytes(b"no model")
    monkeypatch.setattr(sys, "argv", ["compare.py", *[str(path)] * 2, "--sizes", "41x24"])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    assert stopped.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"compare.py: error: {path}: does not run at 41 x 24 (")
    assert line.endswith("as --multiple")


def test_a_tflite_file_without_its_engine_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "theirs.tflite"
    path.write_bytes((find_model("small_fp32").parent / "small_fp16.tflite").read_bytes())
    for module in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in [name for name in sys.modules if name.startswith("ai_edge_litert.")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(sys, "argv", ["compare.py", *[str(path)] * 2, "--sizes", "48x32"])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    assert stopped.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("; run: pip install ai-edge-litert")
    assert str(path) not in line


def test_a_shape_that_does_not_fit_is_named() -> None:
    with pytest.raises(SystemExit, match=r"x\.onnx: takes \[1, 3, 8, 8\], which \[1, 3, 9, 8\]"):
        compare.check_shape(Path("x.onnx"), [1, 3, 8, 8], (1, 3, 9, 8))
    compare.check_shape(Path("x.onnx"), ["n", 3, "h", None], (1, 3, 9, 8))
    compare.check_shape(Path("x.tflite"), np.array([1, -1, -1, 3]), (1, 9, 8, 3))
