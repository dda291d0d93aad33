import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.errors import ImageError, UsageError
from edge_runtime.pictures.plan import Job, Naming, WatchPlan, plan
from edge_runtime.pictures.sources import STDIO, Source


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
        (["a.jpg"], "https://x.org/", "is a web address; name a file"),
        (["a.jpg"], "x.xyz", r"must end in \.jpg"),
        (["a.jpg", "b.png"], "a.jpg", "is a file, and a folder is needed"),
        (["a.jpg"], "a.jpg/", "is a file, and a folder is needed"),
        (["a.jpg", "b.png"], "x.jpg", "one file for several pictures"),
        (["in/d.jpg", "in/d_derained.jpg"], None, "is itself an input"),
        (["a.jpg", "in/../in/c.jpg", "in/a.jpg"], "new", "would both be written to new/a_der"),
        (["a.jpg", "in/A.JPG"], "new", r"in/A\.JPG would both be written"),
        (["in/\u00e9.jpg", "in/e\u0301.jpg"], "new", "would both be written"),
    ],
)
def test_refusals(here: Path, inputs: list[str], out: str | None, message: str) -> None:
    for name in ("a.jpg", "A.JPG", "\u00e9.jpg", "e\u0301.jpg"):
        (here / "in" / name).touch()
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


def test_a_link_with_our_mark_does_not_give_away_what_it_names(here: Path) -> None:
    (here / "a_derained.jpg").symlink_to("b.png")
    with pytest.raises(UsageError, match=r"a_derained\.jpg: exists already"):
        plan(["a.jpg"])
    (here / "in/z.jpg").symlink_to("c.jpg")
    with pytest.raises(UsageError, match="would both be written"):
        plan(["in"], force=True, naming=Naming(""))


def test_a_dangling_link_counts_as_existing(here: Path) -> None:
    (here / "x.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UsageError, match="exists already"):
        plan(["a.jpg"], "x.jpg")


def test_folders_without_pictures(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: holds no pictures"):
        plan(["a.jpg", "empty"])


def test_folders_that_cannot_be_listed(here: Path, closed: Callable[[Path], None]) -> None:
    (here / "in/deep/er").mkdir(parents=True)
    (here / "in/deep/er/e.jpg").touch()
    (here / "in/shut").mkdir()
    closed(here / "in/shut")
    told: list[str] = []
    jobs = plan(["in"], "out", recursive=True, unlisted=told.append)
    assert [job.source.name for job in jobs] == ["c.jpg", "d.jpg", "e.jpg"]
    (line,) = told
    assert line.startswith("in/shut: cannot be listed (Permission denied)")
    with pytest.raises(ImageError, match="in/shut: cannot be listed"):
        plan(["in/shut"])


def test_folders_keep_their_tree(here: Path) -> None:
    (here / "in/deep").mkdir()
    (here / "in/deep/e.jpg").touch()
    jobs = plan(["in"], "out", recursive=True, naming=Naming("", ".png"))
    assert _pairs(jobs) == [
        ("in/c.jpg", "out/c.png"),
        ("in/d.jpg", "out/d.png"),
        ("in/deep/e.jpg", "out/deep/e.png"),
    ]


def test_names_without_our_mark_are_not_ours_to_replace(here: Path) -> None:
    with pytest.raises(UsageError, match="is itself an input"):
        plan(["a.jpg"], naming=Naming(""))
    for naming, out in ((Naming("", ".png"), None), (Naming(""), "in"), (Naming("_x"), "in")):
        (here / "a.png").touch()
        (here / "in/a.jpg").touch()
        if naming.mark:  # those of this command
            (here / "in/a_x.jpg").touch()
            assert len(plan(["a.jpg"], out, naming=naming)) == 1
            continue
        with pytest.raises(UsageError, match=r"a\.(png|jpg): exists already; add --force"):
            plan(["a.jpg"], out, naming=naming)
        assert len(plan(["a.jpg"], out, naming=naming, force=True)) == 1
        assert plan(["a.jpg"], out, naming=naming, skip_existing=True) == []


def test_names_that_differ_by_case_are_distinct_where_their_originals_are(here: Path) -> None:
    (here / "in/C.jpg").touch()
    assert len(plan(["in"])) == 3
    with pytest.raises(UsageError, match="would both be written"):
        plan(["in"], "out")


def test_standard_streams() -> None:
    assert plan(["-"]) == [Job(STDIO, STDIO, None)]
    assert plan(["-"], "x.png") == [Job(STDIO, Path("x.png"))]
    assert plan(["a.jpg"], "-", naming=Naming(format=".png")) == [Job(Path("a.jpg"), STDIO, ".png")]
    for inputs, out in ((["a.jpg", "b.png"], "-"), (["-"], "new/"), (["-", "a.jpg"], None)):
        with pytest.raises(UsageError):
            plan(inputs, out)


def test_a_format_that_contradicts_the_output() -> None:
    with pytest.raises(UsageError, match=r"does not fit --format \.png"):
        plan(["a.jpg"], "x.webp", naming=Naming(format=".png"))


def test_skip_existing_resumes(here: Path) -> None:
    assert _pairs(plan(["in"], skip_existing=True)) == [("in/c.jpg", "in/c_derained.jpg")]
    # What a shell expands holds the results of the run before: they are not rained on again.
    names = ["in/c.jpg", "in/d.jpg", "in/d_derained.jpg"]
    assert _pairs(plan(names, skip_existing=True)) == [("in/c.jpg", "in/c_derained.jpg")]
    assert plan(["a.jpg"], "b.png", skip_existing=True) == []


def test_shards_share_a_batch_whatever_else_is_there(here: Path) -> None:
    for number in range(60):
        (here / f"in/{number}.jpg").touch()
    parts = [plan(["in"], "out", shard=(index, 3)) for index in (1, 2, 3)]
    everything = plan(["in"], "out")
    assert sorted(pair for part in parts for pair in _pairs(part)) == sorted(_pairs(everything))
    assert all(10 <= len(part) <= 32 for part in parts)
    (here / "in/0.jpg").unlink()
    assert set(plan(["in"], "out", shard=(1, 3))) == set(parts[0]) - {
        Job(Path("in/0.jpg"), Path("out/0_derained.jpg"))
    }
    # The same picture on a machine that mounts the archive elsewhere is in the same part.
    (here / "in").rename(here / "elsewhere")
    moved = plan(["elsewhere"], "out", shard=(1, 3))
    assert {job.target for job in moved} <= {job.target for job in parts[0]}


def test_watched_pictures_are_skipped_only_when_older_than_their_result(here: Path) -> None:
    source, target = here / "a.jpg", here / "a_derained.jpg"
    watched = WatchPlan(None, Naming(), skip_existing=True)
    target.touch()
    assert watched.jobs([Source(source)]) == ([], [])
    time.sleep(0.01)
    source.unlink()
    source.touch()
    os.utime(source, (100, 100))  # taken long ago, and copied here now
    assert watched.jobs([Source(source)]) == ([Job(source, target)], [])


def test_of_watched_pictures_only_those_that_clash_fail(here: Path) -> None:
    watched = WatchPlan(here / "out", Naming("", ".png"))
    sources = {name: Source(here / name) for name in ("a.jpg", "A.jpeg", "b.png", "in/c.jpg")}
    for source in sources.values():
        source.path.touch()
    jobs, refused = watched.jobs(sources.values())
    assert [job.source.name for job in jobs] == ["b.png", "c.jpg"]
    assert [line.split(" would")[0] for line in refused] == [
        f"{here}/a.jpg and {here}/A.jpeg", f"{here}/A.jpeg and {here}/a.jpg"
    ]  # fmt: skip
    for name in ("b.png", "c.png"):
        (here / "out").mkdir(exist_ok=True)
        (here / "out" / name).touch()
    assert len(watched.jobs([sources["b.png"]])[0]) == 1  # changed: the result is of this picture
    again = WatchPlan(here / "out", Naming("", ".png"))
    jobs, refused = again.jobs([sources["b.png"]])
    assert (jobs, len(refused)) == ([], 1)
    assert "exists already; add --force" in refused[0]
    late = here / "b.jpg"
    late.touch()
    jobs, refused = watched.jobs([Source(late)])
    assert (jobs, len(refused)) == ([], 1)
    sources["b.png"].path.unlink()
    forced = WatchPlan(here / "out", Naming("", ".png"), force=True)
    assert len(forced.jobs([Source(late)])[0]) == 1
    below = watched.jobs([Source(here / "a.jpg", Path("deep"))])[0]
    assert below == [Job(here / "a.jpg", here / "out/deep/a.png")]
