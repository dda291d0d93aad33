from pathlib import Path

import pytest

from edge_runtime.errors import UsageError
from edge_runtime.pictures.sources import STDIO, is_clip, is_stream
from edge_runtime.video.plan import MovingJob, plan_moving


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dir").mkdir()
    for name in ("a.mp4", "b.AVI", "b.mp4", "old.mkv", "c_derained.mp4", "dir/a.mp4"):
        Path(name).write_bytes(b"")


def test_names() -> None:
    assert is_clip("a.mp4")
    assert is_clip("x/B.MOV")
    assert is_clip("raw.H264")
    assert not is_clip("a.jpg")
    assert not is_clip("rtsp://camera/a.mp4")
    assert is_stream("RTSP://camera/a.mp4")
    assert not is_stream("rtsp/a.mp4")


@pytest.mark.parametrize(
    ("names", "out", "targets"),
    [
        (["a.mp4"], None, ["a_derained.mp4"]),
        (["dir/b.AVI"], None, ["dir/b_derained.mp4"]),
        (["a.mp4", "b.AVI", "a.mp4"], None, ["a_derained.mp4", "b_derained.mp4"]),
        (["a.mp4"], "new.webm", ["new.webm"]),
        (["a.mp4"], "dir", ["dir/a_derained.mp4"]),
        (["a.mp4"], "new/", ["new/a_derained.mp4"]),
        (["a.mp4", "b.AVI"], "new", ["new/a_derained.mp4", "new/b_derained.mp4"]),
        (["a.mp4"], "-", ["-"]),
    ],
)
def test_videos(names: list[str], out: str | None, targets: list[str]) -> None:
    jobs = plan_moving(names, out=out)
    assert [str(job.target) for job in jobs] == targets
    assert [job.source for job in jobs] == list(dict.fromkeys(names))
    assert not any(job.live for job in jobs)


def test_marks_force_and_what_exists() -> None:
    assert plan_moving(["a.mp4"], mark="_dry")[0].target == Path("a_dry.mp4")
    assert plan_moving(["a.mp4"], out="old.mkv", force=True)[0].target == Path("old.mkv")
    assert plan_moving(["a.mp4"], out="old.mkv", skip_existing=True) == []
    assert plan_moving(["a.mp4"], out="a.mp4", force=True)[0].target == Path("a.mp4")


@pytest.mark.parametrize(
    ("name", "out", "target"), [("b.AVI", None, "b.mp4"), ("a.mp4", "dir", "dir/a.mp4")]
)
def test_without_a_mark_nothing_that_exists_is_replaced(
    name: str, out: str | None, target: str
) -> None:
    said = f"^{target}: exists already; add --force to replace it"
    with pytest.raises(UsageError, match=said):
        plan_moving([name], out=out, mark="")
    assert plan_moving([name], out=out, mark="", force=True) == [MovingJob(name, Path(target))]
    assert plan_moving([name], out=out, mark="", skip_existing=True) == []
    marked = Path(target).with_stem(f"{Path(target).stem}_derained")
    marked.write_bytes(b"")
    assert plan_moving([name], out=out) == [MovingJob(name, marked)]


def test_cameras_and_streams() -> None:
    assert plan_moving([], "0", "x.mp4") == [MovingJob("0", Path("x.mp4"), live=True)]
    assert plan_moving([], "0", "-") == [MovingJob("0", STDIO, live=True)]
    assert plan_moving(["rtsp://h/s"], out="x.mp4")[0].live
    assert plan_moving([], "http://h/s", "x.mp4")[0].source == "http://h/s"


@pytest.mark.parametrize(
    ("names", "camera", "out", "message"),
    [
        (["a.mp4", "b.jpg"], None, None, "b.jpg: is no video file; derain it in a run"),
        (["a.mp4", "b.AVI"], None, "-", "standard output takes one video"),
        (["a.mp4", "b.AVI"], None, "c.mp4", "names one file for several videos"),
        (["a.mp4"], None, "c.jpg", r"c\.jpg: cannot write \.jpg as video; use \.mp4"),
        (["a.mp4"], None, "old.mkv", "old.mkv: exists already; add --force"),
        (["a.mp4", "dir/a.mp4"], None, "new", "a.mp4 and dir/a.mp4 would both be written to"),
        (["c.avi", "c.wmv"], None, None, "c.avi and c.wmv would both be written to c_derained"),
        (["c.avi", "C.wmv"], None, None, "c.avi and C.wmv would both be written to C_derained"),
        (["\u00e9.avi", "e\u0301.wmv"], None, None, "would both be written"),
        (["dir/c.mp4", "new/C.mp4"], None, "new", "would both be written to new/C_derained"),
        (["c.mp4", "c_derained.mp4"], None, None, "c_derained.mp4: is itself an input"),
        (["a.mp4"], "0", "c.mp4", "0: takes a run of its own"),
        (["rtsp://a", "rtsp://b"], None, "c.mp4", "takes a run of its own"),
        ([], "0", None, "a camera needs -o FILE"),
        ([], "0", "old.mkv", "old.mkv: exists already"),
        ([], "0", "dir", "cannot write no suffix"),
        ([], "front", "c.mp4", "--camera front: must be a number"),
    ],
)
def test_clear_errors(names: list[str], camera: str | None, out: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_moving(names, camera, out)
