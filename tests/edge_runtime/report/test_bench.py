import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError, ImageError
from edge_runtime.pictures.plan import Job
from edge_runtime.report import bench as bench_module
from edge_runtime.report.bench import (
    Times,
    bench,
    bench_table,
    measure_command,
    measure_files,
    runs,
)

SaveModel = Callable[..., Path]


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def derainer(save_model: SaveModel) -> Derainer:
    return Derainer.load(save_model(), threads=1)


def test_files_against_the_engine(
    derainer: Derainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, engine = _Clock(), iter([9.0, 9.0, 1.0, 2.0, 3.0])

    def batch(timed: Derainer, jobs: Sequence[Job]) -> Iterator[Any]:
        seconds = next(engine)
        for job in jobs:
            assert job.target.parent == tmp_path
            clock.now += 0.25  # reading
            monkeypatch.setattr(derainer.session, "run", lambda batch: _spend(clock, seconds))
            timed.session.run(np.zeros(1, np.float32))
            yield SimpleNamespace(error=None)

    monkeypatch.setattr(bench_module, "derain_batch", batch)
    files = [tmp_path / "a.jpg"] * 4
    counted: list[int] = []
    found = measure_files(
        derainer, files, tmp_path, "four", 3, lambda: counted.append(1), clock=clock
    )
    assert (found.what, found.repeats, found.warm_up) == ("four", 3, 2)
    assert found.engine_ms == pytest.approx(2000)
    assert found.median_ms == pytest.approx(2250)
    assert found.p95_ms == pytest.approx(3150)
    assert found.ratio == pytest.approx(2.25 / 2)
    assert found.met
    assert len(counted) == 5


def _spend(clock: _Clock, seconds: float) -> None:
    clock.now += seconds


def test_a_file_that_fails(derainer: Derainer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png: no such file"):
        measure_files(derainer, [tmp_path / "missing.png"], tmp_path, "none", 1)


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seconds, code = _Clock(), iter([9.0, 9.0, 0.1, 0.2, 0.4, 1.0]), 0

    def run(command: list[str], **_: object) -> Any:
        assert command[1:] == ["-m", "edge_runtime.cli", "--help"]
        clock.now += next(seconds)
        return subprocess.CompletedProcess(command, code, b"", b"edge-derain: error: no\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = measure_command(["--help"], "help", 150.0, 3, clock=clock)
    assert found.median_ms == pytest.approx(200)
    assert (found.engine_ms, found.ratio, found.met) == (None, None, False)
    code = 2
    with pytest.raises(EdgeDerainError, match=r"help: exit code 2 \(edge-derain: error: no\)"):
        measure_command(["--help"], "help", 150.0, 1, clock=clock)


def test_everything_for_real(derainer: Derainer, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((20, 30, 3), np.uint8))
    counted: list[int] = []
    found = bench(derainer, picture, threads=1, repeats=1, on_run=lambda: counted.append(1))
    assert len(counted) == runs(1)
    assert [times.what for times in found.times] == [
        "30 x 20 png, one by one",
        "30 x 20 png, 8 at once",
        "first 640 x 480 of a process",
        "--help",
        "--version",
    ]
    assert [times.target for times in found.times] == [1.15, 1.15, 700, 200, 200]
    assert all(times.ratio is not None and times.ratio > 1 for times in found.times[:2])
    assert all(times.median_ms > 0 for times in found.times)
    assert (found.model, found.engine) == ("echo", derainer.session.name)
    assert [path.name for path in tmp_path.glob("*.png")] == ["a.png"]


def test_the_table() -> None:
    def times(what: str, **more: Any) -> Times:
        return Times(what=what, median_ms=210.4, p95_ms=333.0, repeats=9, warm_up=2, **more)

    lines = bench_table(
        [
            times("files", engine_ms=200.0, ratio=1.052, target=1.15),
            times("slow", target=200.0),
            times("free"),
        ]
    )
    assert lines[0].split() == ["ms", "p95", "engine", "ms", "ratio", "target"]
    assert lines[1].split() == ["files", "210", "333", "200", "1.05", "1.15", "met"]
    assert lines[2].split() == ["slow", "210", "333", "-", "-", "200", "ms", "missed"]
    assert lines[3].split() == ["free", "210", "333", "-", "-", "-"]
