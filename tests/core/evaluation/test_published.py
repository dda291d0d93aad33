"""Each published test set in the folders that its download makes, found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import DataError
from core.evaluation.published import PUBLISHED_SETS, published_sets
from core.pairs import find_pairs
from edge_runtime.errors import UsageError


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _pairs(title: str, root: Path) -> dict[str, list[tuple[str, str]]]:
    config = published_sets(title, str(root))
    return {
        name: [
            (str(pair.rainy.relative_to(root)), str(pair.clean.relative_to(root)))
            for pair in find_pairs(test_set.source, config.data_root)
        ]
        for name, test_set in config.sets.items()
    }


@pytest.mark.parametrize(
    ("name", "files", "pair"),
    [
        ("rain100l", ["norain-001.png", "rain-001.png"], ("rain-001.png", "norain-001.png")),
        (
            "rain100l",
            ["rainy_L/1.webp", "rainy_H/1.webp", "clean/1.webp"],
            ("rainy_L/1.webp", "clean/1.webp"),
        ),
        (
            "Rain100H",
            ["rainy_L/1.webp", "rainy_H/1.webp", "clean/1.webp"],
            ("rainy_H/1.webp", "clean/1.webp"),
        ),
        (
            "rain200l",
            ["train/norain-1.png", "train/rain-1.png", "Test/norain-2.png", "Test/rain-2.png"],
            ("Test/rain-2.png", "Test/norain-2.png"),
        ),
        (
            "rain200h",
            ["rain/X2/norain-1x2.png", "norain/norain-1.png"],
            ("rain/X2/norain-1x2.png", "norain/norain-1.png"),
        ),
        (
            "rain12",
            ["rain/001_in.png", "groundtruth/001_GT.png"],
            ("rain/001_in.png", "groundtruth/001_GT.png"),
        ),
        ("rain800", ["training/1.jpg", "test_syn/2.jpg"], ("test_syn/2.jpg", "test_syn/2.jpg")),
        ("rain800", ["7.jpg"], ("7.jpg", "7.jpg")),
        ("rain800", ["input/1.png", "target/1.png"], ("input/1.png", "target/1.png")),
        (
            "rain1400",
            ["testing/rainy image/901_14.jpg", "testing/ground truth/901.jpg"],
            ("testing/rainy image/901_14.jpg", "testing/ground truth/901.jpg"),
        ),
        ("rain13k", ["input/2.jpg", "target/2.jpg"], ("input/2.jpg", "target/2.jpg")),
        ("spa", ["rain/1.png", "norain/1gt.png"], ("rain/1.png", "norain/1gt.png")),
    ],
)
def test_downloads(tmp_path: Path, name: str, files: list[str], pair: tuple[str, str]) -> None:
    _touch(tmp_path, *files)
    assert _pairs(name, tmp_path) == {name.lower(): [pair]}


def test_rain800_has_its_clean_half_on_the_left(tmp_path: Path) -> None:
    _touch(tmp_path, "1.jpg")
    source = published_sets("rain800", str(tmp_path)).sets["rain800"].source
    assert (source.layout, source.clean_side) == ("side_by_side", "left")


def test_the_test_sets_of_rain13k_are_scored_one_by_one(tmp_path: Path) -> None:
    for part in ("Test100", "Rain100L"):
        _touch(tmp_path, f"test/{part}/input/1.png", f"test/{part}/target/1.png")
    _touch(tmp_path, "train/Rain13K/input/1.jpg", "train/Rain13K/target/1.jpg")
    assert _pairs("rain13k", tmp_path) == {
        f"rain13k/{part}": [(f"test/{part}/input/1.png", f"test/{part}/target/1.png")]
        for part in ("Rain100L", "Test100")
    }


@pytest.mark.parametrize(
    ("name", "hint"), [("rain10h", "did you mean 'rain100h'"), ("zzz", "there are")]
)
def test_an_unknown_name_lists_what_there_is_once(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"^--dataset '{name}': unknown; {hint}") as raised:
        published_sets(name, ".")
    assert str(raised.value).count(", ".join(PUBLISHED_SETS)) == 1


@pytest.mark.parametrize("name", PUBLISHED_SETS)
def test_a_missing_folder_is_named_when_it_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        _pairs(name, tmp_path / "nowhere")
