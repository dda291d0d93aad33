"""The pages say of what ships what its cards and reports say, and every link leads somewhere."""

import csv
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.checkpoint import find_checkpoint
from core.evaluation.table import checkpoint_table, find_checkpoints, quality_table
from edge_runtime import Derainer
from edge_runtime.models.card import load_card
from edge_runtime.models.catalog import WEIGHTS, list_models, model_table
from edge_runtime.pictures.picture import Picture, read_picture, write_picture

ROOT = Path(__file__).parent.parent
README, QUALITY = (
    (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/quality.md")
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODELS = list_models()


def test_every_student_ships_for_both_engines_in_float_and_int8() -> None:
    kinds = ("fp32.onnx", "int8.onnx", "fp16.tflite", "int8.tflite")
    wanted = {f"{name}_{kind}" for name in ("nano", "small", "base") for kind in kinds}
    assert {path.name for path, _ in MODELS} == wanted


def test_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 150


def test_readme_repeats_the_report_of_the_three_models() -> None:
    with (ROOT / "docs/report/report.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    (ms,) = (key for key in rows["small_fp32.onnx"] if key.startswith("ms ("))
    assert "1280 x 720" in ms
    for name in ("nano", "small", "base"):
        pair = [rows[f"{name}_{precision}.onnx"] for precision in ("fp32", "int8")]
        size, quality, speed = (
            " / ".join(format(float(row[column]) / unit, form) for row in pair)
            for column, unit, form in (
                ("bytes", 1000, ".0f"), ("validation/rgb psnr", 1, ".2f"), (ms, 1, ".0f"),
            )
        )  # fmt: skip
        cost = float(pair[0]["macs_per_pixel"]) / 1000
        assert f"| {name} | {cost:.1f} | {size} | {quality} | {speed} |" in README
    (card,) = [card for path, card in MODELS if path.name == "small_fp32.onnx"]
    (row,) = [r for r in card.quality if (r.dataset, r.protocol) == ("validation", "rgb")]
    said = f"on {row.images} pairs of Rain800 that no training saw (input {row.input_psnr:.2f})"
    assert said in " ".join(README.split())


def test_a_page_lists_the_models() -> None:
    assert "\n".join(model_table(card for _, card in MODELS)) in QUALITY


def test_a_page_repeats_the_card_of_the_default_model() -> None:
    (card,) = [card for path, card in MODELS if path.name == "small_fp32.onnx"]
    assert quality_table(card.quality) in QUALITY
    assert card.bytes is not None
    facts = (
        f"`{card.name}`: {card.bytes / 1000:.0f} kB, {card.parameters:,} parameters, "
        f"{card.macs_per_pixel / 1000:.2f} kMAC per pixel"
    )
    assert facts in QUALITY


def test_a_page_repeats_the_table_of_checkpoints() -> None:
    shipped = ["nano", "small", "base", "gan_lstm", "gan_lstm_gan"]
    names = [*shipped, "rescan", "jorder", "gan_lstm_paper", "deconv", "deconv_paper"]
    assert checkpoint_table(find_checkpoints(names)) in QUALITY
    assert f"derain table {' '.join(names)}`" in QUALITY


def test_a_page_repeats_the_score_of_the_deconvolution_network() -> None:
    card = load_card(find_checkpoint("deconv_paper"))
    (row,) = [r for r in card.quality if (r.dataset, r.protocol) == ("validation", "rgb")]
    assert f"`deconv_paper` stands at {row.psnr:.2f} dB (rgb)" in " ".join(QUALITY.split())


def test_command_lines_are_those_that_continuous_integration_runs() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    derain, test = (line for line in README.splitlines() if re.match(r"pip install .* && ", line))
    assert f'DERAIN="{derain}"' in script
    assert f'TEST="{test}"' in script


def _links(page: Path) -> Iterator[str]:
    """Yield where the links and pictures of a page lead, but for those to other sites."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    missing = []
    for link in _links(page):
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (heading and heading not in _headings(target)):
            missing.append(link)
    assert missing == []


def test_pages_name_files_that_are_there() -> None:
    """The files of the ways through the house, by any end of their paths; NAME stands for any."""
    files = {f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.*") if path.is_file()}
    for page in [page for page in PAGES if "research" not in page.parts]:
        for name in re.findall(r"`([\w/.-]+\.(?:py|yaml|sh|service))`", page.read_text("utf-8")):
            found = "NAME" in name or any(file.endswith(f"/{name}") for file in files)
            assert found, f"{page.name}: {name}"


def _headings(page: Path) -> set[str]:
    """Return the names that a page's headings are linked by."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_the_fields_of_a_config_are_those_that_there_are() -> None:
    page = runpy.run_path(str(ROOT / "docs/fields.py"))["page"]
    assert (ROOT / "docs/fields.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("number", [0, 1])
def test_an_artifact_runs_in_plain_engines_as_its_contract_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.DOTALL)[
        number
    ]
    (artifact,) = re.findall(r'"(small_\S+)"', code)
    monkeypatch.chdir(tmp_path)
    shutil.copy(WEIGHTS / artifact, tmp_path)
    rainy = read_picture(ROOT / "examples/temple.jpg").rgb[:101, :67]
    write_picture("rainy.png", Picture(rainy))
    exec(code, {})
    wanted = Derainer.load(WEIGHTS / artifact, scale=1)(rainy).astype(int)
    assert np.abs(read_picture("derained.png").rgb - wanted).max() <= 1
