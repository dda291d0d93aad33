from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError, DataError
from core.pairs import SourceConfig, find_pairs, published, read_pairs
from edge_runtime.pictures.picture import Picture, write_picture


def _folders(root: Path, names: dict[str, np.ndarray]) -> SourceConfig:
    for name, rgb in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, Picture(rgb))
    return SourceConfig(layout="folders", rainy="rainy", clean="clean")


@pytest.mark.parametrize("side", ["left", "right"])
def test_side_by_side(tmp_path: Path, picture, side: str) -> None:
    clean, rainy = picture(8, 6, 1), picture(8, 6, 2)
    halves = [clean, rainy] if side == "left" else [rainy, clean]
    write_picture(tmp_path / "a.png", Picture(np.hstack(halves)))
    (pair,) = find_pairs(SourceConfig("side_by_side", root=".", clean_side=side), tmp_path)
    found_rainy, found_clean = pair.read()
    np.testing.assert_array_equal(found_rainy, rainy)
    np.testing.assert_array_equal(found_clean, clean)
    assert found_rainy.flags.c_contiguous


def test_folders_pair_by_stem_whatever_the_suffix(tmp_path: Path, picture) -> None:
    rainy, clean = picture(9, 7, 1), picture(9, 7, 2)
    source = _folders(
        tmp_path,
        {"rainy/b.png": rainy, "rainy/a.bmp": clean, "clean/b.bmp": clean}
        | {"clean/a.png": rainy, "clean/unused.png": rainy},
    )
    for folder in ("rainy", "clean"):  # as macOS and Windows leave them on every disk
        for name in ("._b.png", ".DS_Store", "Thumbs.db"):
            (tmp_path / folder / name).write_bytes(b"no picture")
    pairs = find_pairs(source, tmp_path)
    assert [pair.name for pair in pairs] == ["a.bmp", "b.png"]
    np.testing.assert_array_equal(pairs[1].read(), [rainy, clean])
    np.testing.assert_array_equal(pairs[0].read(), [clean, rainy])


def test_clean_pictures_are_their_own_twins(data_root: Path) -> None:
    pairs = find_pairs(SourceConfig("clean", root="dry"), data_root)
    assert len(pairs) == 2
    for rainy, clean in read_pairs(pairs):
        np.testing.assert_array_equal(rainy, clean)


def test_splits_share_no_picture_and_lose_none(data_root: Path) -> None:
    def names(**split: str) -> set[str]:
        return {
            p.name for p in find_pairs(SourceConfig("side_by_side", "pairs", **split), data_root)
        }

    train = names(scenes="scenes.csv", split="train")
    val = names(scenes="scenes.csv", split="val")
    assert train == {"0.png", "1.png"}
    assert val == {"2.png"}
    assert train | val == names()


def test_scenes_lie_relative_to_their_table(data_root: Path) -> None:
    (data_root / "lists").mkdir()
    (data_root / "lists/s.csv").write_text("split,path,scene\ntrain,../pairs/1.png,4\n")
    source = SourceConfig("side_by_side", "pairs", scenes="lists/s.csv", split="train")
    assert [pair.name for pair in find_pairs(source, data_root)] == ["1.png"]


def test_sizes_that_differ(tmp_path: Path, picture) -> None:
    source = _folders(tmp_path, {"rainy/a.png": picture(8, 6), "clean/a.png": picture(8, 7)})
    (pair,) = find_pairs(source, tmp_path)
    with pytest.raises(
        DataError, match=r"rainy/a\.png is 6x8 .*clean/a\.png is 7x8; pairs must be"
    ):
        pair.read()


def test_missing_twin(tmp_path: Path, picture) -> None:
    source = _folders(tmp_path, {"rainy/a.png": picture(8, 6), "clean/b.png": picture(8, 6)})
    with pytest.raises(DataError, match=r"rainy/a\.png: no clean twin named a\.\* in .*clean"):
        find_pairs(source, tmp_path)


def test_two_twins_of_one_name(tmp_path: Path, picture) -> None:
    one = picture(8, 6)
    source = _folders(tmp_path, {"rainy/a.png": one, "clean/a.png": one, "clean/a.bmp": one})
    with pytest.raises(DataError, match=r"clean/a\.png and a\.bmp: two clean twins"):
        find_pairs(source, tmp_path)


def test_unreadable_odd_and_deep_pictures_are_named(tmp_path: Path, picture) -> None:
    (tmp_path / "a.png").write_bytes(b"junk")
    write_picture(tmp_path / "b.png", Picture(picture(4, 7)))
    write_picture(tmp_path / "c.png", Picture(picture(4, 6).astype(np.uint16) * 257))
    junk, odd, deep = find_pairs(SourceConfig("side_by_side", root="."), tmp_path)
    with pytest.raises(DataError, match=r"a\.png"):
        junk.read()
    with pytest.raises(DataError, match=r"b\.png: width 7 is odd"):
        odd.read()
    with pytest.raises(DataError, match=r"c\.png: uint16 picture"):
        deep.read()


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"nowhere: no such folder; is the path, or --data-root, right\?"
    ):
        find_pairs(SourceConfig("clean", root="nowhere"), tmp_path)
    with pytest.raises(DataError, match="empty: no pictures in it"):
        find_pairs(SourceConfig("clean", root="empty"), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"s\.csv: cannot be read \(No such file"),
        ("", r"s\.csv: needs a header with the columns path and split"),
        ("path,scene\npairs/0.png,1\n", r"s\.csv: needs a header"),
        ("path,split\npairs/0.png\n", r"s\.csv: row 1 lacks its path or split"),
        ("path,split\npairs/0.png,train\n", r"s\.csv: no split 'val'; it has train"),
        ("path,split\nother/0.png,val\n", r"s\.csv: no file of 'pairs' is in the split 'val'"),
        ("path,split\n\xff\xfe", r"s\.csv: is not a CSV table"),
    ],
)
def test_wrong_scene_tables(data_root: Path, text: str | None, message: str) -> None:
    if text is not None:
        (data_root / "s.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        find_pairs(SourceConfig("side_by_side", "pairs", scenes="s.csv", split="val"), data_root)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layout": "clean"}, "layout 'clean' needs 'root'"),
        ({"layout": "folders", "rainy": "x"}, "layout 'folders' needs 'clean'"),
        ({"layout": "clean", "root": "x", "split": "val"}, "belong together"),
    ],
)
def test_sources_that_lack_something(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SourceConfig(**values)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"layout": "clean", "root": "train/dry"}, "dry"),
        ({"layout": "folders", "rainy": "a/Rain100/rainy_L", "clean": "c"}, "Rain100/rainy_L"),
    ],
)
def test_names_say_the_data_set_and_not_where_it_lies(values: dict[str, Any], name: str) -> None:
    assert SourceConfig(**values).name == name


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
