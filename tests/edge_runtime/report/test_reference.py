import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import ImageError, RecordError, ReferenceSetError
from edge_runtime.pictures.picture import Picture, write_picture
from edge_runtime.report.reference import KINDS, SHIPPED, read_reference
from tests.helpers import flat, write_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    three = (flat(120), flat(100), flat(110))
    return write_set(tmp_path / "set", {"light/a": three, "heavy/b": three})


def _change(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "reference.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_pictures_are_read_as_they_were_written(folder: Path) -> None:
    found = read_reference(folder)
    assert found.datasets == ("light", "heavy")
    first = found.index.pictures[0]
    for kind, value in zip(KINDS, (120, 100, 110), strict=True):
        np.testing.assert_array_equal(found.read(first, kind), flat(value))


def test_a_changed_picture_is_refused(folder: Path) -> None:
    found = read_reference(folder)
    write_picture(folder / "teacher/light/a.png", Picture(flat(111)))
    with pytest.raises(ReferenceSetError, match=r"teacher/light/a\.png: is not the picture in"):
        found.read(found.index.pictures[0], "teacher")
    (folder / "teacher/light/a.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        found.read(found.index.pictures[0], "teacher")


def test_a_wrong_size_is_refused(folder: Path) -> None:
    _change(folder, lambda values: values["pictures"][0].update(height=17))
    found = read_reference(folder)
    with pytest.raises(ReferenceSetError, match=r"is uint8 \(16, 20, 3\), but .* \(17, 20, 3\)"):
        found.read(found.index.pictures[0], "clean")


def test_the_hash_of_a_set_is_that_of_all_its_pictures(folder: Path) -> None:
    before = read_reference(folder).sha256
    assert read_reference(folder).sha256 == before
    _change(folder, lambda values: values["pictures"][0]["sha256"].update(clean="1" * 64))
    assert read_reference(folder).sha256 != before


def test_missing_and_malformed_sets_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ReferenceSetError, match=r"nowhere: no reference set .*--reference"):
        read_reference(tmp_path / "nowhere")
    _change(folder, lambda values: values.update(schema=9))
    with pytest.raises(RecordError, match="schema 9 is newer than 1"):
        read_reference(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "../../etc"},
        {"name": "../x"},
        {"sha256": {"rainy": "0"}},
    ],
)
def test_names_never_lead_out_of_the_set(folder: Path, change: dict) -> None:
    _change(folder, lambda values: values["pictures"][0].update(change))
    with pytest.raises(ReferenceSetError, match="needs a name inside the set"):
        read_reference(folder)


def test_an_empty_set_is_refused(folder: Path) -> None:
    _change(folder, lambda values: values.update(pictures=[]))
    with pytest.raises(ReferenceSetError, match="has no pictures"):
        read_reference(folder)


def test_the_shipped_set_is_whole_and_small() -> None:
    found = read_reference(SHIPPED)
    for picture in found.index.pictures:
        three = {kind: found.read(picture, kind) for kind in KINDS}
        if picture.dataset == "dry":
            np.testing.assert_array_equal(three["rainy"], three["clean"])
        else:
            assert (three["rainy"] != three["clean"]).any()
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1.5e6
    named = {SHIPPED / p.path(kind) for p in found.index.pictures for kind in KINDS}
    others = {SHIPPED / "README.md", SHIPPED / "reference.json"}
    assert set(files) == named | others
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert all(f"`{p.dataset}/{p.name}`" in readme for p in found.index.pictures)
