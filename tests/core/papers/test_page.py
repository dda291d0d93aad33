from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from core import cli
from core.checkpoint import TrainingCost, find_checkpoint
from core.errors import DataError
from core.papers.methods import CONFIG, Known, MethodConfig, PapersConfig, PrintedConfig
from core.papers.page import page
from edge_runtime.models.card import QualityRow, load_card
from edge_runtime.pictures.picture import read_picture


def _row(protocol: str, psnr: float, given: float = 20.0) -> QualityRow:
    return QualityRow(
        dataset="rain12",
        images=12,
        protocol=protocol,
        input_psnr=given,
        input_ssim=0.5,
        psnr=psnr,
        ssim=0.91234,
    )


@pytest.fixture
def config() -> PapersConfig:
    methods = (MethodConfig("A", "one", checkpoint="a"), MethodConfig("B", "two"))
    printed = (
        PrintedConfig("A", "rain12", 33.9, "a book", 0.95),
        PrintedConfig("B", "x", 20.5, "b"),
    )
    return PapersConfig(methods, ("rain12", "validation"), printed, ("Mind the gap.",))


@pytest.fixture
def known(config: PapersConfig) -> list[Known]:
    first = Known(
        config.methods[0],
        Path("a"),
        np.copy,
        parameters=1234,
        macs_per_pixel=5600.0,
        cost=TrainingCost(8000, 1.25, "1 CPU thread"),
        scores={"rain12/y": _row("y", 31.5), "rain12/rgb": _row("rgb", 30.25)},
    )
    return [first, Known(config.methods[1], Path("b"), np.copy)]


def test_the_page(config: PapersConfig, known: list[Known]) -> None:
    text = page(config, known, {"A": 1.234}, "a board", "strip.png")
    luma, colour = text.split("## On ")[1:3]
    assert "| input (no deraining) | – | 20.00 / 0.5000 | – |" in luma
    assert "| A | one | 31.50 / 0.9123 | – |" in luma
    assert "| A | one | 30.25 / 0.9123 | – |" in colour
    assert "| B | two | – | – |" in luma
    assert "| A | 1,234 | 5.6 | 1.23 | 8,000 | 1.2 | 1 CPU thread |" in text
    assert "| B | – | – | – | – | – | – |" in text
    assert "on one thread of a board" in text
    assert "| A | rain12 | 33.90 / 0.95 | a book |" in text
    assert "| B | x | 20.5 | b |" in text
    assert "Mind the gap." in text
    assert "](strip.png)" in text
    assert page(config, known[:1], {}, "", None).count("##") == 4


def test_scores_on_other_pictures_are_refused(config: PapersConfig, known: list[Known]) -> None:
    other = dataclasses.replace(known[1], scores={"rain12/y": _row("y", 25, given=21.0)})
    with pytest.raises(DataError, match=r"rain12/y: a was scored on 12 pictures .* but b on"):
        page(config, [known[0], other], {}, "")


def test_the_shipped_config_lies_where_the_command_looks() -> None:
    assert CONFIG.is_file()


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    methods = [{"name": "nano", "paper": "ours", "checkpoint": "nano", "strip": True}]
    path = tmp_path / "papers.yaml"
    path.write_text(yaml.safe_dump({"methods": methods}), encoding="utf-8")
    return str(path)


def test_page_and_strip(
    tmp_path: Path, config_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page, strip = tmp_path / "papers.md", tmp_path / "img/strip.png"
    strip.parent.mkdir()
    command = ["table", "papers", "--config", config_file]
    assert cli.main([*command, "-o", str(page), "--strip", str(strip)]) == 0
    assert capsys.readouterr() == ("", "")
    text = page.read_text(encoding="utf-8")
    assert "](img/strip.png)" in text
    card = load_card(find_checkpoint("nano"))
    assert f"| nano | {card.parameters:,} | {card.macs_per_pixel / 1000:.1f} | " in text
    width = read_picture(strip).rgb.shape[1]
    assert width > 4 * 240
    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith("# The papers' methods beside ours\n")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["-o", "none/a.md"], "-o none/a.md: none is no folder", 2),
        (["--strip", "none/a.png"], "--strip none/a.png: none is no folder", 2),
        (["--strip", "a.txt"], "a.txt: cannot write .txt", 1),
        (["--strip", "a.png", "--picture", "x/y"], "--picture x/y: unknown; there are", 2),
    ],
)
def test_wrong_options(
    config_file: str,
    arguments: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["table", "papers", "--config", config_file, *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
