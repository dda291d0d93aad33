import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from core.checkpoint import SHIPPED, Checkpoint, TrainingCost, save_checkpoint
from core.errors import CheckpointError, DataError
from core.evaluation import table
from core.networks.student import StudentConfig, StudentNet
from edge_runtime.errors import CardError, UsageError
from edge_runtime.models.card import ModelCard, QualityRow, write_card

Make = Callable[..., Path]


def _row(dataset: str, protocol: str, psnr: float, given: float = 20.0) -> QualityRow:
    return QualityRow(
        dataset=dataset,
        images=5,
        protocol=protocol,
        input_psnr=given,
        input_ssim=0.5,
        psnr=psnr,
        ssim=0.9,
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a checkpoint, and a card beside it if it has rows."""
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    weights = StudentNet(config).state_dict()

    def write(
        name: str, *rows: QualityRow, cost: TrainingCost | None = None, carded: bool = True
    ) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, Checkpoint(name, "teacher", "student", config, weights, cost=cost))
        card = ModelCard(
            name=name,
            role="teacher",
            architecture="student",
            config={},
            format="safetensors",
            precision="fp32",
            layout="NCHW",
            size_multiple=4,
            halo=8,
            tiling_exact=True,
            parameters=1234567,
            macs_per_pixel=7570.0,
            quality=rows,
            recipe=(),
            data=(),
            versions={},
            licence="none",
        )
        if carded:
            write_card(path, card)
        return path

    return write


def test_quality_of_one_model() -> None:
    lines = table.quality_table([_row("a", "rgb", 30.0), _row("b", "y", math.inf)]).splitlines()
    assert lines[1] == "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    assert lines[2:] == [
        "| a | 5 | rgb | 20.00 | 30.00 | 0.5000 | 0.9000 |",
        "| b | 5 | y | 20.00 | inf | 0.5000 | 0.9000 |",
    ]


def test_markdown(make: Make) -> None:
    cost = TrainingCost(steps=88000, hours=1.54, hardware="2 CPU threads")
    first = make(
        "a", _row("dry", "rgb", math.inf, 100), _row("rain13k/Test100", "y", 31), cost=cost
    )
    second = make("b", _row("dry", "rgb", 41.006, 100))
    lines = table.checkpoint_table([first, second], ["rain13k/Test100/y", "dry/rgb"]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0].endswith("| steps | hours | hardware | rain13k Test100 y | dry rgb |")
    assert lines[2] == "| input (no deraining) | – | – | – | – | – | – | – | 20.00 | 100.00 |"
    assert lines[3] == (
        "| a | student | 1,234,567 | 7.6 | 0.01 | 88,000 | 1.5 | 2 CPU threads | 31.00 | inf |"
    )
    assert lines[4].endswith(" | – | – | – | – | 41.01 |")


def test_default_columns_are_those_that_a_card_has(make: Make) -> None:
    paths = [
        make("a", _row("rain12", "y", 31), _row("rain12", "rgb", 30)),
        make("b", _row("validation", "rgb", 27), _row("other", "y", 1)),
    ]
    lines = table.checkpoint_table(paths).splitlines()
    assert lines[0].endswith("| hardware | validation rgb | rain12 y |")
    assert [line.split(" | ")[-2:] for line in lines[3:]] == [["–", "31.00 |"], ["27.00", "– |"]]


def test_a_misspelt_column_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match=r"'dry/rbg': in no card; did you mean 'dry/rgb'\?"):
        table.checkpoint_table([make("a", _row("dry", "rgb", 41))], ["dry/rbg"])


def test_a_checkpoint_without_a_card_is_shown(make: Make) -> None:
    path = make("a", carded=False)
    line = table.checkpoint_table([path], ["dry/rgb"]).splitlines()[3]
    size = f"{path.stat().st_size / 2**20:.2f}"
    assert line == f"| a | student | – | – | {size} | – | – | – | – |"


def test_scores_on_different_pictures_do_not_mix(make: Make) -> None:
    first = make("a", _row("dry", "rgb", 41))
    close = make("b", _row("dry", "rgb", 41, given=20.004))
    assert table.checkpoint_table([first, close]).splitlines()[2].endswith("| 20.00 |")
    far = make("c", _row("dry", "rgb", 41, given=20.1))
    with pytest.raises(DataError, match=r"a\.saf.* input of 20\.00 dB, but .*c\.saf.* 20\.10 dB"):
        table.checkpoint_table([first, far])
    fewer = make("d", dataclasses.replace(_row("dry", "rgb", 41), images=4))
    with pytest.raises(DataError, match=r"on 5 pictures .* on 4 pictures .* same data"):
        table.checkpoint_table([first, fewer])


def test_a_card_of_another_file_says_how_to_make_it(make: Make) -> None:
    path = make("a", _row("dry", "rgb", 41))
    other = make("longer", carded=False)
    path.write_bytes(other.read_bytes())
    with pytest.raises(CardError, match=r"its card says .*derain-export card .*a\.safetensors --q"):
        table.checkpoint_table([path])


def test_places(make: Make, tmp_path: Path) -> None:
    a, b = make("a"), make("b")
    for name in ("state.safetensors", "._a.safetensors"):
        (tmp_path / name).touch()
    shipped = sorted(SHIPPED.glob("*.safetensors"))[0]
    found = table.find_checkpoints([str(b), str(tmp_path), shipped.stem])
    assert found == [b, a, shipped]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: no checkpoints \(\*\.safetensors\)"):
        table.find_checkpoints([str(tmp_path / "empty")])
    with pytest.raises(CheckpointError, match="'nonesuch': unknown"):
        table.find_checkpoints(["nonesuch"])
