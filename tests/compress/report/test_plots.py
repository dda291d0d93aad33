import io
import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.text import Annotation
from PIL import Image

from compress.pareto import Point
from compress.report.plots import BARS, NARROW, WIDE, Size, bin_edges, curve, histogram, png, svg

POINTS = [
    Point("nano_int8", 60, 26.9, "int8", "tflite"),
    Point("nano_fp32", 190, 26.95, "fp32"),
    Point("small_int8", 200, 27.5, "int8", "tflite"),
    Point("small <fp32>", 700, 27.4, "fp32"),
]
TITLES = ("artifact in kB", "PSNR in dB")


def _named(points: list[Point], size: Size) -> list[Annotation]:
    (axes,) = curve(points, TITLES, ("teacher", 27.1), size).axes
    return [text for text in axes.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_labels_cover_neither_each_other_nor_points(size: Size) -> None:
    many = [Point(f"model_{i}", 100 + 3 * i, 27 + 0.02 * (i % 5)) for i in range(25)]
    names = _named(many, size)
    assert 1 < len(names) < 25
    boxes = [name.get_window_extent() for name in names]
    axes = names[0].axes
    assert axes is not None
    points = [axes.transData.transform((p.cost, p.quality)) for p in many]
    for index, box in enumerate(boxes):
        assert box.x1 <= size.width
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert not any(box.contains(x, y) for x, y in points)


def test_ticks_are_round_and_costs_logarithmic() -> None:
    (axes,) = curve(POINTS, TITLES).axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [50, 100, 200, 500]
    assert axes.get_xscale() == "log"
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert ticks == pytest.approx([26.8 + 0.2 * number for number in range(len(ticks))])


def test_the_front_is_a_line() -> None:
    (axes,) = curve(POINTS, TITLES).axes
    assert axes.lines[0].get_xydata().tolist() == [[60, 26.9], [190, 26.95], [200, 27.5]]  # type: ignore[union-attr]


def test_an_svg_takes_the_colours_of_its_page() -> None:
    figure = curve(POINTS, TITLES, ("teacher", 28.0))
    drawn = svg(figure, WIDE, 'What "it" shows', [f"{p.label}: told" for p in POINTS])
    root = ET.fromstring(re.sub(r"xlink:href", "href", drawn))
    assert root.attrib["class"] == "wide"
    assert root.attrib["viewBox"] == "0 0 640 380"
    assert root.attrib["aria-label"] == 'What "it" shows'
    said = [text.text for text in root.iter("text")]
    assert {"artifact in kB", "PSNR in dB", "teacher 28.00", "small_int8"} <= set(said)
    assert [title.text for title in root.iter("title")] == [f"{p.label}: told" for p in POINTS]
    assert {"var(--int8)", "var(--fp32)", "var(--quiet)", "var(--line)"} <= set(
        re.findall(r"var\(--\w+\)", drawn)
    )
    assert not re.search(r"#[0-9a-f]{6}", drawn)
    assert "font-" not in drawn


def test_a_png_has_twice_the_pixels() -> None:
    with Image.open(io.BytesIO(png(curve(POINTS, TITLES)))) as image:
        assert image.size == (1280, 760)


def test_bins_are_round_and_hold_all_values() -> None:
    values = [-0.11, 0.02, 0.3, 0.3, 1.13]
    edges = bin_edges(values)
    assert edges[0] <= -0.11
    assert edges[-1] >= 1.13
    assert edges == pytest.approx([-0.2 + 0.2 * number for number in range(len(edges))])
    assert len(bin_edges([0.4])) >= 2


def test_a_histogram_counts() -> None:
    (axes,) = histogram([-0.1, 0.1, 0.1, 0.35], [-0.2, 0.0, 0.2, 0.4], "nano", 3).axes
    heights = [bar.get_height() for bar in axes.patches]  # type: ignore[attr-defined]
    assert heights == [1, 2, 1]
    assert axes.get_ylim() == (0, 3)
    assert "nano" in svg(histogram([0.1], [0.0, 0.2], "nano", 1), BARS, "Losses of nano")
