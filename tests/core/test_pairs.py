from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError, DataError
from core.pairs import SourceConfig, find_pairs, read_pairs
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
