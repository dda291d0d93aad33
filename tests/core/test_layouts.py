"""Every layout as it is downloaded, and what is said of a folder that is none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import DataError
from core.layouts import published
from core.pairs import SourceConfig, find_pairs


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


LAYOUTS = {
    "Rain100L, RainTrainL": (
        ["norain-001.png", "norain-2.png", "rain-001.png", "rain-2.png", "rainstreak-2.png"],
        [("rain-001.png", "norain-001.png"), ("rain-2.png", "norain-2.png")],
    ),
    "Rain100H, first release": (
        ["norain-001.png", "rain/X2/norain-001x2.png", "rainstreak/X2/norain-001x2.png"],
        [("rain/X2/norain-001x2.png", "norain-001.png")],
    ),
    "Rain200H": (
        ["rain/X2/norain-1x2.png", "norain/norain-1.png"],
        [("rain/X2/norain-1x2.png", "norain/norain-1.png")],
    ),
    "Rain1400, names with a space": (
        ["rainy image/901_1.jpg", "ground truth/901.jpg"],
        [("rainy image/901_1.jpg", "ground truth/901.jpg")],
    ),
    "Rain100H with folders": (
        ["rainy/rain-001.png", "norain/norain-001.png"],
        [("rainy/rain-001.png", "norain/norain-001.png")],
    ),
    "Rain12": (
        ["rain/001_in.png", "groundtruth/001_GT.png"],
        [("rain/001_in.png", "groundtruth/001_GT.png")],
    ),
    "Rain1400": (
        ["rainy_image/901_1.jpg", "rainy_image/901_14.jpg", "ground_truth/901.jpg"],
        [
            ("rainy_image/901_1.jpg", "ground_truth/901.jpg"),
            ("rainy_image/901_14.jpg", "ground_truth/901.jpg"),
        ],
    ),
    "Rain13K": (
        ["input/1.jpg", "target/1.jpg", "input/im_1.jpg", "target/im_1.jpg"],
        [("input/1.jpg", "target/1.jpg"), ("input/im_1.jpg", "target/im_1.jpg")],
    ),
    "SPA-Data, test": (
        ["rain/001.png", "norain/001gt.png"],
        [("rain/001.png", "norain/001gt.png")],
    ),
}


@pytest.mark.parametrize(("files", "pairs"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_published_layouts(tmp_path: Path, files: list[str], pairs: list[tuple[str, str]]) -> None:
    _touch(tmp_path / "set", *files)
    source = SourceConfig(layout="published", root="set")
    found = [
        (pair.rainy.relative_to(tmp_path / "set"), pair.clean.relative_to(tmp_path / "set"))
        for pair in find_pairs(source, tmp_path)
    ]
    assert found == [(Path(rainy), Path(clean)) for rainy, clean in pairs]


def test_a_list_of_pairs(tmp_path: Path) -> None:
    _touch(tmp_path, "real_rain/a.png", "real_gt/b.png", "readme.txt")
    (tmp_path / "readme.txt").write_text("Real rain, and what is behind it.")
    (tmp_path / "real_world.txt").write_text("/real_rain/a.png /real_gt/b.png\n\n")
    assert published(tmp_path) == [(tmp_path / "real_rain/a.png", tmp_path / "real_gt/b.png")]
    (tmp_path / "real_gt/b.png").unlink()
    with pytest.raises(DataError, match=r"real_world\.txt: names .*b\.png, which is not there"):
        published(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.png", "Left/a.png"], r"tried .*norain-\* beside rain-\*.*; found 1 pictures, left/$"),
        (["input/1.jpg", "input/2.jpg", "target/1.jpg"], r"2\.jpg: no clean twin named 2\.\*"),
        (["rain/1.png", "norain/1.png", "norain/1gt.png"], "two clean twins of one name"),
        (["norain-1.png"], "clean pictures, but no rainy ones beside them"),
        (["rain/1.png", "norain/notes.doc"], "norain: no pictures in it"),
    ],
)
def test_wrong_folders(tmp_path: Path, files: list[str], message: str) -> None:
    _touch(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        published(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        published(tmp_path / "nowhere")
