"""The estimates of boards are the arithmetic that the page says they are."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import roofline
from edge_runtime.models.catalog import list_models

DOCS = (Path(__file__).parent.parent / "docs" / "boards.md").read_text(encoding="utf-8")
BOARD = roofline.Board("Board", cores=4, gigahertz=2.0, macs_per_cycle=8, dot_products=True)
CARDS = {path.name: card for path, card in list_models()}


def test_the_peak_of_a_board_by_hand() -> None:
    assert BOARD.peak("fp32") == 64e9
    assert BOARD.peak("fp16") == 64e9
    assert BOARD.peak("int8") == 256e9
    without = dataclasses.replace(BOARD, dot_products=False)
    assert (without.peak("fp32"), without.peak("int8")) == (64e9, None)


def test_an_estimate_by_hand() -> None:
    card = dataclasses.replace(CARDS["small_fp32.onnx"], macs_per_pixel=6400.0)
    int8 = dataclasses.replace(card, precision="int8")
    without = dataclasses.replace(BOARD, name="Old", dot_products=False)
    found = [roofline.Measured(card, 123.4, 0.5), roofline.Measured(int8, 56.7, 0.25)]
    head, _, first, second = roofline.table(found, [BOARD, without], 1_000_000)
    assert head.endswith("| Board (estimate) | Old (estimate) |")
    # 6.4 GMAC at half of 64 GMAC/s take 0.2 s; at a quarter of 256 GMAC/s 0.1 s.
    slow, fast = "200 ms, 5.0 frames/s", "100 ms, 10.0 frames/s"
    assert first == f"| small fp32 | onnx | 6.4 | 123 | 50% | {slow} | {slow} |"
    assert second == f"| small int8 | onnx | 6.4 | 57 | 25% | {fast} | – |"


def test_the_peak_here_is_that_of_the_fastest_product() -> None:
    now = iter(np.cumsum([0.0, 3.0, 1.0, 2.0, 1.0, 4.0]))
    assert roofline.float_peak(10, 3, lambda: float(next(now))) == 10**3 / 2.0


def test_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    models = [(path, card) for path, card in list_models() if path.name == "nano_fp32.onnx"]
    monkeypatch.setattr(roofline, "list_models", lambda: models)
    monkeypatch.setattr(sys, "argv", ["roofline.py", "--size", "48x32", "--repeats", "1"])
    roofline.main()
    out = capsys.readouterr().out
    assert out.startswith("48 x 32. Measured on ")
    assert re.search(r"^\| nano fp32 \| onnx \| 1\.7 \| \d+ \| \d+% \| \d+ ms, ", out, re.MULTILINE)


def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["roofline.py", "--size", "big"])
    with pytest.raises(SystemExit):
        roofline.main()


def test_int8_without_dot_products_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "has_int8_dot_products", lambda: False)
    card = CARDS["nano_int8.onnx"]
    assert roofline.measure("nano_int8", card, (32, 32), 1, 1e9) is None


def test_the_page_has_a_row_for_every_model_and_board() -> None:
    for card in CARDS.values():
        cost = f"{card.macs_per_pixel / 1000:.1f}"
        assert f"| {card.name} {card.precision} | {card.format} | {cost} |" in DOCS
    for board in roofline.BOARDS:
        assert f"{board.name} (estimate)" in DOCS
