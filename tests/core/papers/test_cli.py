from pathlib import Path

import pytest
import yaml

from core import cli
from core.checkpoint import find_checkpoint
from edge_runtime.models.card import load_card
from edge_runtime.pictures.picture import read_picture


@pytest.fixture
def config(tmp_path: Path) -> str:
    methods = [
        {"name": "nano", "paper": "ours", "checkpoint": "nano", "strip": True},
        {"name": "none", "paper": "ours", "checkpoint": "none"},
    ]
    path = tmp_path / "papers.yaml"
    path.write_text(yaml.safe_dump({"methods": methods}), encoding="utf-8")
    return str(path)


def test_page_and_strip(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    page, strip = tmp_path / "papers.md", tmp_path / "img/strip.png"
    strip.parent.mkdir()
    command = ["table", "papers", "--config", config]
    assert cli.main([*command, "-o", str(page), "--strip", str(strip)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "derain: none: not trained yet (none.safetensors)\n")
    text = page.read_text(encoding="utf-8")
    assert "](img/strip.png)" in text
    card = load_card(find_checkpoint("nano"))
    assert f"| nano | {card.parameters:,} | {card.macs_per_pixel / 1000:.1f} | " in text
    assert "| none | – | – | – | – | – | – |" in text
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
    config: str,
    arguments: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["table", "papers", "--config", config, *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
