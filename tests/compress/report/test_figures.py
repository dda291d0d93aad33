import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from compress.report.figures import (
    NARROW,
    WIDE,
    Axis,
    _label,
    bin_edges,
    count,
    curve,
    histogram,
    lay_out,
)
from compress.report.front import Point
from compress.report.plots import curve_png

POINTS = [
    Point("nano_int8", 60, 26.9, "int8", "tflite"),
    Point("nano_fp32", 190, 26.95, "fp32"),
    Point("small_int8", 200, 27.5, "int8", "tflite"),
    Point("small <fp32>", 700, 27.4, "fp32"),
]


def test_axes_are_linear_and_logarithmic() -> None:
    linear = Axis(10, 30, 100, 300)
    assert (linear(10), linear(20), linear(30)) == (100, 200, 300)
    log = Axis(10, 1000, 0, 100, log=True)
    assert (log(10), log(100), log(1000)) == pytest.approx((0, 50, 100))


def test_ticks_are_round_and_within() -> None:
    assert Axis(26.81, 28.1, 0, 1).ticks() == pytest.approx([27, 27.5, 28])
    assert Axis(45, 2300, 0, 1, log=True).ticks() == [50, 100, 200, 500, 1000, 2000]
    assert Axis(0.3, 4, 0, 1, log=True).ticks() == pytest.approx([0.5, 1, 2])


@pytest.mark.parametrize("frame", [WIDE, NARROW], ids=lambda frame: frame.name)
def test_labels_cover_neither_each_other_nor_points(frame) -> None:
    many = [Point(f"model_{i}", 100 + 3 * i, 27 + 0.02 * (i % 5)) for i in range(25)]
    laid = lay_out(many, ("teacher", 27.1), frame)
    boxes = [
        (place[0], place[1] - 11, place[0] + 6.8 * len(point.label), place[1] + 3)
        for point, place in laid.labels.items()
        if place
    ]
    assert 0 < len(boxes) < 25
    points = [(laid.across(p.cost), laid.up(p.quality)) for p in many]
    for index, box in enumerate(boxes):
        assert box[2] <= frame.width
        for other in boxes[:index]:
            apart = box[2] <= other[0] or other[2] <= box[0]
            assert apart or box[3] <= other[1] or other[3] <= box[1]
        assert not any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in points)


def test_a_curve_draws_every_point_and_the_front() -> None:
    svg = curve(POINTS, ("kB", "dB"), "Size & quality", ("master", 28.0))
    root = ET.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", "Size & quality")
    told = [each.text for each in root.iter("title")]
    assert sorted(text.partition(":")[0] for text in told if text) == sorted(
        point.label for point in POINTS
    )
    line = next(each.get("points") for each in root.iter("polyline"))
    assert line is not None
    laid = lay_out(POINTS, ("master", 28.0), WIDE)
    expected = [(laid.across(p.cost), laid.up(p.quality)) for p in POINTS[:3]]
    drawn = [tuple(map(float, pair.split(","))) for pair in line.split()]
    assert drawn == [pytest.approx(pair, abs=0.06) for pair in expected]
    assert len(re.findall('class="point fp32 beaten"', svg)) == 1
    assert "master 28.00" in svg


def test_labels_keep_off_the_level_where_there_is_room() -> None:
    point = Point("small_fp32", 100, 27.5)
    for quality in (27.3, 27.5, 27.6):
        points = [point, Point("x", 10, 25), Point("y", 1000, 28)]
        laid = lay_out(points, ("master", quality), WIDE)
        place, y = laid.labels[point], laid.up(quality)
        assert place is not None
        assert not place[1] - 11 < y < place[1] + 3


def test_a_label_lies_across_the_level_only_on_the_front() -> None:
    crowd = [Point(f"point_{number}", 100 + number, 27.5) for number in range(6)]
    laid = lay_out(crowd, ("master", 27.49), WIDE)
    line = laid.up(27.49)
    across = [p for p, at in laid.labels.items() if at and at[1] - 11 < line < at[1] + 3]
    assert set(across) <= set(laid.front) == {crowd[0]}
    assert laid.labels[crowd[0]]
    everywhere = [(0.0, 0.0, 999.0, 999.0)]
    assert _label(crowd[0], 300, 200, [everywhere, []], WIDE) is not None
    assert _label(crowd[0], 300, 200, [everywhere], WIDE) is None


def test_the_name_of_the_level_goes_below_where_a_point_is_above() -> None:
    far, left = Point("far", 1000, 27.55), Point("left", 10, 25)
    free = lay_out([left, Point("right", 1000, 26)], ("master", 27.5), WIDE)
    assert free.level_base == pytest.approx(free.up(27.5) - 6)
    crowded = lay_out([left, far], ("master", 27.5), WIDE)
    assert crowded.level_base == pytest.approx(crowded.up(27.5) + 16)
    assert f'y="{crowded.level_base:.1f}"' in curve([left, far], ("x", "y"), "c", ("master", 27.5))


def test_one_point_can_be_drawn() -> None:
    ET.fromstring(curve(POINTS[:1], ("kB", "dB"), "x"))


def test_bins_hold_all_values_once() -> None:
    values = [-0.31, 0.0, 0.04, 0.05, 0.2, 0.55]
    edges = bin_edges(values)
    assert edges[0] <= min(values)
    assert edges[-1] >= max(values)
    assert count(values, edges) == [
        sum(low <= v < high or v == high == edges[-1] for v in values)
        for low, high in itertools.pairwise(edges)
    ]
    assert sum(count(values, edges)) == len(values)
    assert count([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == [1, 2]
    assert sum(count([0.5], bin_edges([0.5]))) == 1


def test_a_histogram_has_a_bar_for_each_bin() -> None:
    root = ET.fromstring(histogram([0.1, 0.1, 0.3], [0, 0.2, 0.4], "a < b", "x", 2))
    heights = [float(bar.get("height") or 0) for bar in root.iter("rect")]
    assert heights[0] == pytest.approx(2 * heights[1])


def test_png_of_a_curve() -> None:
    data = curve_png(POINTS, ("kB", "dB"), ("master", 28.0))
    assert data.startswith(b"\x89PNG")
    size = [int.from_bytes(data[at : at + 4], "big") for at in (16, 20)]
    assert size == [1280, 760]
