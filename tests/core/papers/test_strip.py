from pathlib import Path

import numpy as np
import pytest

from core import cli
from core.papers.strip import read_pair, strip
from edge_runtime.errors import UsageError
from edge_runtime.pictures.picture import read_picture


def test_panels_stand_in_order(picture) -> None:
    clean = picture(40, 60)
    rainy, first, second = clean + np.uint8(9), clean + np.uint8(5), clean + np.uint8(1)
    laid = strip(rainy, clean, {"A": first, "B": second, "C": clean})
    height, width = laid.shape[0] // 2, laid.shape[1] // 4
    panels = [rainy, first, second, clean, clean]
    for index, pixels in enumerate(panels):
        top, left = height * (index // 4), width * (index % 4)
        cell = laid[top : top + height, left : left + width]
        where = [
            (y, x)
            for y in range(height - 39)
            for x in range(width - 59)
            if (cell[y : y + 40, x : x + 60] == pixels).all()
        ]
        assert len(where) == 1
        assert (cell[where[0][0] + 40 :] < 128).any()  # a label below
    assert (laid[height:, width:] == 255).all()


def test_pairs_of_the_reference_set() -> None:
    rainy, clean = read_pair("heavy/chelsea")
    assert rainy.shape == clean.shape
    assert rainy.mean() > clean.mean()
    with pytest.raises(UsageError, match=r"heavy/chelsae: unknown; there are .*heavy/chelsea"):
        read_pair("heavy/chelsae")


def test_the_command_draws_a_row_for_each_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "strip.png"
    command = ["strip", "nano", "-o", str(out), "--picture", "heavy/chelsea", "light/coffee"]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == f"{out}\n"
    drawn = read_picture(out).rgb
    pairs = [read_pair(name) for name in ("heavy/chelsea", "light/coffee")]
    heights = [rainy.shape[0] for rainy, _ in pairs]
    assert drawn.shape[0] == sum(heights) + 2 * 34
    top = 8
    for (rainy, clean), height in zip(pairs, heights, strict=True):
        width = rainy.shape[1]
        np.testing.assert_array_equal(drawn[top : top + height, 4 : 4 + width], rainy)
        last = 4 + 2 * (width + 8)
        np.testing.assert_array_equal(drawn[top : top + height, last : last + width], clean)
        top += height + 34
