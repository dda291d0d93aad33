import csv
import dataclasses
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import cli
from compress.report.evidence import make_evidence, recipe_tree
from compress.report.gate import Condition
from compress.report.page import page, write_report
from compress.report.pictures import HEAT_LEVELS, heat_map, make_gallery, worst_losses
from compress.report.results import Results, gather
from compress.report.text import cost_rows, csv_table, endured, markdown, number, quality_rows
from edge_runtime.errors import UsageError
from edge_runtime.models.card import LossRow, TeacherLoss, read_card
from edge_runtime.models.catalog import find_model
from edge_runtime.report.endurance import Sustained
from edge_runtime.report.reference import SHIPPED, read_reference
from tests.compress.report.conftest import Tab, card, device, measured, teacher_card, write
from tests.conftest import Refused

REFERENCE = read_reference(SHIPPED)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """Five artifacts, of which nano int8, small int8 and small fp32 are the front of size."""
    cards = {
        "nano_int8.tflite": (card("nano_int8.tflite", 60, 26.5), 10, 1.5),
        "nano_fp32.onnx": (card("nano_fp32.onnx", 250, 26.6), 30, 1.4),
        "small_int8.tflite": (card("small_int8.tflite", 210, 27.2), 25, 0.8),
        "small_fp32.onnx": (card("small_fp32.onnx", 700, 27.6), 90, 0.4),
        "small_fp32.tflite": (card("small_fp32.tflite", 710, 27.6), 60, 0.4),
    }
    one = [measured(file, of, ms, loss) for file, (of, ms, loss) in cards.items()]
    two = [measured(file, of, 5 * ms, loss) for file, (of, ms, loss) in cards.items()]
    return [
        write(tmp_path / "one.json", device(*one)),
        write(tmp_path / "two.json", device(*two[:3], cpu="Board <Two>")),
        write(tmp_path / "master.safetensors.json", teacher_card()),
    ]


@pytest.fixture
def results(places: list[Path]) -> Results:
    return gather(places)


def test_curves_and_their_fronts(results: Results) -> None:
    evidence = make_evidence(results, REFERENCE)
    assert evidence.column == "val/rgb"
    size, one, two = evidence.curves
    assert [p.label for p in size.front] == ["nano_int8", "small_int8", "small_fp32.onnx"]
    assert [step.rate for step in size.steps] == pytest.approx([0.7 / 150, 0.4 / 490])
    assert size.level == ("teacher master", 28.0)
    assert [p.label for p in one.front] == ["nano_int8", "small_int8", "small_fp32.tflite"]
    assert one.place == "Board One, 1 thread, 1280 x 720"
    assert sorted(p.cost for p in two.points) == [50, 125, 150]


def test_quality_can_be_chosen(results: Results) -> None:
    evidence = make_evidence(results, REFERENCE, "reference/rgb")
    assert evidence.curves[0].level == ("teacher master", pytest.approx(29.0))
    quality = {point.label: point.quality for point in evidence.curves[0].points}
    assert quality["small_int8"] == pytest.approx(29 - 1.2)
    with pytest.raises(UsageError, match="--quality 'val/rgbb': unknown; did you mean 'val/rgb'"):
        make_evidence(results, REFERENCE, "val/rgbb")


def test_the_reference_is_the_quality_where_no_teacher_is_known_elsewhere(
    places: list[Path],
) -> None:
    assert make_evidence(gather(places[:1]), REFERENCE).column == "reference/rgb"


def test_unscored_artifacts_are_refused(tmp_path: Path) -> None:
    bare = write(tmp_path / "x.onnx.json", card("x_fp32.onnx", 1, 20, quality=()))
    with pytest.raises(UsageError, match="no artifact is scored"):
        make_evidence(gather([bare]), REFERENCE)


def test_recipes_share_their_branches(results: Results) -> None:
    root, *branches = recipe_tree(results.entries)
    shared = ("without a teacher", "train: from scratch")
    assert (root.depth, root.steps, root.files) == (0, shared, ())
    assert [branch.depth for branch in branches] == [1, 1]
    found = {branch.steps: branch.files for branch in branches}
    assert found[("export: onnx",)] == ("small_fp32.onnx", "nano_fp32.onnx")
    assert len(found[("export: tflite",)]) == 3


def test_what_is_not_scored_is_named_and_has_not_passed(places: list[Path], tmp_path: Path) -> None:
    bare = card("own_fp32.onnx", 9000, 20)  # the largest comes first, and so do its columns
    rows = tuple(dataclasses.replace(row, dataset="own") for row in bare.quality)
    own = write(tmp_path / "own_fp32.onnx.json", dataclasses.replace(bare, quality=rows))
    gates = [Condition.parse("loss_db > 9"), Condition.parse("bytes > 1e9")]
    evidence = make_evidence(gather([*places, own]), REFERENCE, None, gates)
    assert evidence.column == "val/rgb"
    assert [curve.unscored for curve in evidence.curves] == [("own_fp32",), (), ()]
    assert evidence.failed
    named = "Not scored on val/rgb, so not drawn: own_fp32."
    text, html = markdown(evidence), page(evidence)
    assert text.count(named) == html.count(named) == 1
    assert "Fail if `loss_db > 9 on val/rgb`: own_fp32.onnx: loss_db is not known." in text
    assert re.findall(r"<p><strong>(.*?)</p>", html) == [
        "Not known, so not passed</strong>: <code>loss_db &gt; 9 on val/rgb</code>.",
        "Passed</strong>: <code>bytes &gt; 1e9</code> is true of no artifact.",
    ]
    alone = make_evidence(gather([own]), REFERENCE)
    assert "the cheapest and the best" not in page(alone)


def test_each_loss_is_said_to_be_against_its_teacher(tmp_path: Path) -> None:
    places = []
    for file, teacher, sha256 in (
        ("a_fp32.onnx", "wise", "1"), ("b_fp32.onnx", "wise", "2"), ("c_fp32.onnx", "far", "3"),
    ):  # fmt: skip
        row = LossRow(dataset="val", protocol="rgb", psnr_loss_db=0.3, ssim_loss=0.01)
        loss = TeacherLoss(name=teacher, sha256=64 * sha256, taught=False, rows=(row,))
        licence = f"of {teacher}"
        it = card(file, 100, 27, teacher=loss, licence=licence)
        places.append(write(tmp_path / f"{file}.json", it))
    evidence = make_evidence(gather(places), REFERENCE)
    head, rows = cost_rows(evidence)
    place = head.index("against")
    assert [row[place] for row in rows] == ["wise 11111111", "wise 22222222", "far"]
    assert [row[0] for row in quality_rows(evidence, "rgb")[1][1:4]] == [
        *("teacher wise 11111111", "teacher wise 22222222", "teacher far")
    ]
    assert evidence.curves[0].level is None
    text = markdown(evidence)
    assert "of b_fp32.onnx against wise 22222222; of c_fp32.onnx against far." in text
    for said in (text, page(evidence)):
        assert "a_fp32.onnx, b_fp32.onnx: of wise" in said
    assert "of far" in csv_table(evidence)


def test_the_worst_pictures_are_rainy_and_each_comes_once(results: Results) -> None:
    worst = worst_losses(results.entries)
    assert [(loss.picture, loss.file) for loss in worst] == [
        ("rain/b", "nano_int8.tflite"),
        ("rain/a", "nano_int8.tflite"),
    ]
    assert worst[0].scores.psnr_loss_db == 3.0


def test_pictures_of_another_set_are_not_shown(results: Results) -> None:
    gallery = make_gallery(results, REFERENCE)
    assert gallery.shown == ()
    assert "--reference DIR" in gallery.missing[0]


def test_heat_grows_with_the_error() -> None:
    clean = np.full((1, 4, 3), 100, np.uint8)
    derained = clean.copy()
    derained[0, :, 0] = 100, 100 + 36, 100 + 3 * HEAT_LEVELS, 255
    light = heat_map(derained, clean).astype(int).sum(axis=2)[0]
    assert light[0] < 10 < light[1] < light[2] == light[3]


def test_markdown_and_csv_say_the_same(results: Results) -> None:
    evidence = make_evidence(results, REFERENCE, None, [Condition.parse("loss_db > 1")])
    text = markdown(evidence)
    assert "On the Pareto front: nano_int8, small_int8, small_fp32.onnx." in text
    assert "| nano_int8  | small_int8      |   150.0 |    0.70 |    0.0047 |" in text
    assert "Fail if `loss_db > 1 on val/rgb`: nano_fp32.onnx: loss_db is 1.4; nano_int8" in text
    assert "B: Board <Two>, 1 thread, 1280 x 720" in text
    lines = {line["file"]: line for line in csv.DictReader(io.StringIO(csv_table(evidence)))}
    small = lines["small_int8.tflite"]
    assert float(small["val/rgb loss_db"]) == pytest.approx(0.8)
    assert float(small["reference/rgb psnr"]) == pytest.approx(29 - 1.2)
    assert float(small["ms (Board <Two>, 1 thread, 1280 x 720)"]) == 125
    assert lines["small_fp32.onnx"]["ms (Board <Two>, 1 thread, 1280 x 720)"] == ""
    assert small["bytes"] == "210000"


def test_the_input_is_told_in_both_measures(results: Results) -> None:
    head, (given, *_) = quality_rows(make_evidence(results, REFERENCE), "y")
    assert (head[1], given[:2]) == ("val", ["input", "21.50 / 0.6000"])


def test_time_on_end_is_told_where_it_was_measured(results: Results) -> None:
    bare = make_evidence(results, REFERENCE)
    assert endured(bare) == []
    assert "Time on end" not in markdown(bare) + page(bare)
    first = results.devices[0]
    artifact = dataclasses.replace(
        first.artifacts[0],
        sustained=Sustained(
            height=720, width=1280, seconds=600, runs=9000, first_ms=50, last_ms=81.5,
            median_ms=70, p95_ms=90, hottest_c=84.4, throttled=("throttled",),
        ),
    )  # fmt: skip
    hot = dataclasses.replace(first, artifacts=(artifact, *first.artifacts[1:]))
    evidence = make_evidence(dataclasses.replace(results, devices=(hot,)), REFERENCE)
    ((place, _, rows),) = endured(evidence)
    assert place == "Board One"
    assert rows == [
        ("nano_int8.tflite", "10.0", "9000", "50.0", "81.5", "90.0", "84 °C", "throttled")
    ]
    for text in (markdown(evidence), page(evidence)):
        assert "Time on end on Board One" in text
        assert "84 °C" in text


class _Outline(HTMLParser):
    """Notes what a page refers to, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [v or "" for k, v in attributes if k in ("src", "href", "action")]
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(results: Results) -> None:
    html = page(make_evidence(results, REFERENCE))
    outline = _Outline()
    outline.feed(html)
    assert outline.open == []
    assert all(reference.startswith(("#", "data:")) for reference in outline.references)
    assert not re.search(r"@import|url\(|https?://", html)
    assert "Board &lt;Two&gt;" in html
    assert "Board <Two>" not in html
    anchors = [reference[1:] for reference in outline.references if reference.startswith("#")]
    assert all(f'id="{anchor}"' in html for anchor in anchors)


def test_the_command_writes_it_all_and_fails_as_told(
    places: list[Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["report", *map(str, places), "-o", "out"]
    assert cli.main([*command, "--fail-if", "loss_db > 2", "--fail-if", "bytes > 1e6"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert sorted(Path(line).name for line in written) == [
        *("index.html", "latency-1.png", "latency-2.png", "report.csv", "report.md", "size.png")
    ]
    assert cli.main(command) == 2
    assert "out: is there already; add --force" in capsys.readouterr().err
    assert cli.main([*command, "--force", "--fail-if", "loss_db > 1.45"]) == 1
    err = capsys.readouterr().err
    assert err == "compress: fails if loss_db > 1.45 on val/rgb: nano_int8.tflite: loss_db is 1.5\n"
    assert "Failed" in (here / "out/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail-if", "los > 1"], "unknown field 'los'"),
        (["--reference", "nowhere"], "nowhere: no reference set"),
        (["nothing.json"], "must be a folder"),
    ],
)
def test_a_wrong_request_writes_nothing(
    places: list[Path], here: Path, refused: Refused, arguments: list[str], message: str
) -> None:
    command = ["report", *arguments, *map(str, places), "-o", "out"]
    assert refused(cli.main, command, message) in (1, 2)


def test_a_missing_extra_is_named(
    places: list[Path], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["report", *map(str, places), "-o", "out"]) == 1
    assert "run: pip install matplotlib" in capsys.readouterr().err
    assert not list(here.iterdir())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with pictures: shipped models, one of them scored on the shipped set."""
    folder = tmp_path_factory.mktemp("shown")
    model = find_model("small_fp32")
    own = measured(model.name, read_card(model), 100, 0.5)
    eight = find_model("nano_int8")
    results = gather(
        [model, eight, write(folder / "d.json", device(own, reference=REFERENCE.sha256))]
    )
    write_report(make_evidence(results, REFERENCE), folder / "out", force=False)
    return folder / "out/index.html"


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_the_page_in_a_browser(shown: Path, tab: Tab, width: int, dark: bool) -> None:
    tab.open(shown, width=width, dark=dark)
    assert tab.complaints == []
    assert tab.value("document.documentElement.scrollWidth") == width
    drawn = tab.value(
        "[...document.querySelectorAll('.curve svg')]"
        ".filter((svg) => svg.getBoundingClientRect().width > 250)"
        ".map((svg) => svg.className.baseVal)"
    )
    assert set(drawn) == {"narrow" if width < 600 else "wide"}
    assert tab.value("[...document.images].every((image) => image.naturalWidth > 100)")
    light = tab.value(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 128"
    )
    assert light is not dark

    at = "document.getElementById('stage').style.getPropertyValue('--at')"
    assert tab.value(at) == "50%"
    tab.value("document.getElementById('slider').focus()")
    for _ in range(3):
        tab.press("ArrowRight", 39)
    assert tab.value(at) == "53%"
    box = tab.value(
        "document.getElementById('stage').scrollIntoView({behavior: 'instant'}),"
        "document.getElementById('stage').getBoundingClientRect().toJSON()"
    )
    tab.click(box["left"] + 0.2 * box["width"], box["top"] + 20)
    assert tab.value(at) == "20%"
    assert tab.value("document.getElementById('slider').value") == "20"

    before = tab.value("document.getElementById('over').src")
    tab.value(
        "right.value = 0, right.dispatchEvent(new Event('change')),"
        "picture.value = 1, picture.dispatchEvent(new Event('change'))"
    )
    assert tab.value("document.getElementById('over').src") != before
    assert "rainy, on the right" in tab.value("document.getElementById('over').alt")
    views = tab.value("[...left.options].map((option) => option.text)")
    assert views == [
        "rainy",
        "teacher: gan_lstm",
        "clean",
        "artifact: small_fp32.onnx",
        "artifact: nano_int8.onnx",
        "error of gan_lstm",
        "error of small_fp32.onnx",
        "error of nano_int8.onnx",
    ]
    shown_first = tab.value("[...picture.options].map((option) => option.text)")
    assert (shown_first[0], shown_first[-1]) == ("heavy/rocket", "dry/coffee")
    unnamed = tab.value(
        "[...document.querySelectorAll('select, input, svg, [role=region]')].filter((each) =>"
        " !each.getAttribute('aria-label') && !each.closest('label')).length"
    )
    assert unnamed == 0
    assert tab.complaints == []


@pytest.mark.parametrize(
    ("value", "form", "written"),
    [
        (-0.004, ".2f", "0.00"),
        (-0.006, ".2f", "-0.01"),
        (0.0, ".4f", "0.0000"),
        (1.256, ".2f", "1.26"),
        (None, ".2f", "–"),
    ],
)
def test_what_rounds_to_zero_has_no_sign(value: float | None, form: str, written: str) -> None:
    assert number(value, form) == written
