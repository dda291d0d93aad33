import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from threadpoolctl import threadpool_info

from compress.cost import measure_cost
from core import cli
from core.checkpoint import (
    Checkpoint,
    TrainingCost,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from core.errors import DataError
from core.networks.student import StudentConfig, StudentNet
from core.papers.page import (
    Known,
    MethodConfig,
    PapersConfig,
    PrintedConfig,
    know,
    page,
    seconds,
    timing_picture,
)
from edge_runtime.errors import CardError
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


def test_a_network_without_a_card_is_named(tmp_path: Path) -> None:
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    checkpoint = Checkpoint("a", "teacher", "student", config, StudentNet(config).state_dict())
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    with pytest.raises(CardError, match=r"a\.safetensors: no card; make it: derain-export"):
        know(MethodConfig("A", "x", checkpoint=str(path)))


def test_a_card_is_read() -> None:
    known = know(MethodConfig("small", "ours", checkpoint="small"))
    checkpoint = load_checkpoint("small")
    cost = measure_cost(checkpoint.build(), checkpoint.config.size_multiple)
    assert (known.parameters, known.macs_per_pixel) == (cost.parameters, cost.macs_per_pixel)
    assert known.scores["validation/rgb"].images == 61
    assert known.cost == checkpoint.cost


def test_gmm_has_scores_and_no_cost() -> None:
    known = know(MethodConfig("GMM", "x"))
    assert known.scores["rain12/y"].images == 12
    assert (known.parameters, known.macs_per_pixel, known.cost) == (214_500, None, None)


def test_the_median_without_the_warm_up_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (timing_picture().shape, timing_picture().dtype) == ((320, 480, 3), np.uint8)
    taken = iter([9.0, 1.0, 3.0, 8.0])
    clock = 0.0

    def derain(rainy: np.ndarray) -> np.ndarray:
        nonlocal clock
        clock += next(taken)
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        return rainy

    monkeypatch.setattr(time, "process_time", lambda: clock)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert seconds(derain, timing_picture()) == 3
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert next(taken, None) is None
