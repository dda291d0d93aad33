import os
from pathlib import Path

import pytest

from edge_runtime.batch import Job, plan
from edge_runtime.errors import ImageError, UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.png", "in/c.jpg", "in/d.jpg", "in/d_derained.jpg", "in/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def _pairs(jobs: list[Job]) -> list[tuple[str, str]]:
    return [(str(job.source), str(job.target)) for job in jobs]


@pytest.mark.parametrize(
    ("inputs", "out", "expected"),
    [
        (["a.jpg"], None, [("a.jpg", "a_derained.jpg")]),
        (["a.jpg"], "x.png", [("a.jpg", "x.png")]),
        (["a.jpg"], "in", [("a.jpg", "in/a_derained.jpg")]),
        (["a.jpg"], "new/", [("a.jpg", "new/a_derained.jpg")]),
        (["a.jpg", "b.png"], "n", [("a.jpg", "n/a_derained.jpg"), ("b.png", "n/b_derained.png")]),
        (["in"], None, [("in/c.jpg", "in/c_derained.jpg"), ("in/d.jpg", "in/d_derained.jpg")]),
        (["in/d_derained.jpg"], None, [("in/d_derained.jpg", "in/d_derained_derained.jpg")]),
        (["a.jpg", "./a.jpg", os.curdir + "/in/../a.jpg"], None, [("a.jpg", "a_derained.jpg")]),
        (["missing.jpg"], None, [("missing.jpg", "missing_derained.jpg")]),
    ],
)  # fmt: skip
def test_where_pictures_go(
    inputs: list[str], out: str | None, expected: list[tuple[str, str]]
) -> None:
    assert _pairs(plan(inputs, out)) == expected


def test_a_folder_of_one_still_goes_to_a_folder(here: Path) -> None:
    (here / "one").mkdir()
    (here / "one/e.jpg").touch()
    assert _pairs(plan(["one"], "new")) == [("one/e.jpg", "new/e_derained.jpg")]


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["a.jpg"], "b.png", r"b\.png: exists already; add --force"),
        (["a.jpg"], "a.jpg", "exists already"),
        (["a.jpg"], "x.xyz", r"must end in \.jpg"),
        (["a.jpg", "b.png"], "a.jpg", "is a file, and a folder is needed"),
        (["a.jpg"], "a.jpg/", "is a file, and a folder is needed"),
        (["a.jpg", "b.png"], "x.jpg", "one file for several pictures"),
        (["in/d.jpg", "in/d_derained.jpg"], None, "is itself an input"),
        (["a.jpg", "in/../in/c.jpg", "other/a.jpg"], "new", "would both be written to new/a_der"),
    ],
)
def test_refusals(inputs: list[str], out: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(inputs, out)


def test_force_allows_replacing() -> None:
    assert _pairs(plan(["a.jpg"], "a.jpg", force=True)) == [("a.jpg", "a.jpg")]
    assert len(plan(["in/d.jpg", "in/d_derained.jpg"], force=True)) == 2


def test_originals_are_seen_through_links(here: Path) -> None:
    (here / "a_derained.jpg").symlink_to("a.jpg")
    with pytest.raises(UsageError, match="is itself an input"):
        plan(["a.jpg"])
    (here / "b_derained.png").hardlink_to(here / "b.png")
    with pytest.raises(UsageError, match="is itself an input"):
        plan(["b.png"])


def test_a_dangling_link_counts_as_existing(here: Path) -> None:
    (here / "x.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UsageError, match="exists already"):
        plan(["a.jpg"], "x.jpg")


def test_folders_without_pictures(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: holds no pictures"):
        plan(["a.jpg", "empty"])


def test_a_folder_that_cannot_be_listed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ImageError, match="cannot be listed"):
        plan(["in"])
