"""How much of the time is the engine's: files from end to end, fresh processes, ``--help``."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError, ImageError
from edge_runtime.machine import Machine, machine
from edge_runtime.pictures.batch import derain_batch
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from edge_runtime.pictures.plan import Job
from edge_runtime.report.measure import Clock, TimedSession
from edge_runtime.terminal import aligned

FILE_SIZE = (720, 1280)
"""Height and width in pixels of the file that is made where none is named."""
FIRST_SIZE = (480, 640)
"""Likewise of the first picture of a fresh process."""
RATIO_TARGET, FIRST_TARGET_MS, HELP_TARGET_MS = 1.15, 700.0, 200.0

_WARM_UP = 2
_REPEATS = 9
_BATCH = 8

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long something took.

    Attributes:
        what: In a few words.
        median_ms: Median of the repeats; ``p95_ms`` their 95th percentile.
        repeats: Runs that count, after ``warm_up`` that do not.
        engine_ms: Median of the engine's part; None where it is not the question.
        ratio: Median of the whole over the engine's part; None likewise.
        target: What ``ratio``, or else ``median_ms``, is meant to stay below; None is no target.
    """

    what: str
    median_ms: float
    p95_ms: float
    repeats: int
    warm_up: int
    engine_ms: float | None = None
    ratio: float | None = None
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it stays below its target; None without one."""
        measured = self.median_ms if self.ratio is None else self.ratio
        return None if self.target is None else measured <= self.target


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What was measured, of what, where, and how.

    Attributes:
        machine: Where. ``threads`` of the engine; None is all its cores.
        model: Name, ``precision``, ``engine`` with its version, and ``provider``.
        times: What was found.
    """

    machine: Machine
    threads: int | None
    model: str
    precision: str
    engine: str
    provider: str
    times: tuple[Times, ...]


def bench(
    derainer: Derainer,
    image: Path | None = None,
    *,
    threads: int | None = None,
    repeats: int = _REPEATS,
    on_run: Callable[[], object] = lambda: None,
) -> Bench:
    """Measure everything for one opened model.

    Args:
        derainer: The opened model.
        image: A picture; None makes a JPEG file of ``FILE_SIZE``.
        threads: With which ``derainer`` was opened, for the fresh processes.
        repeats: Runs of each kind that count.
        on_run: Called after each run.

    Raises:
        ImageError: The picture cannot be read.
        EdgeDerainError: A run failed.
    """
    with tempfile.TemporaryDirectory(prefix="edge-derain-") as name:
        folder = Path(name)
        file = _made(folder / "made.jpg", FILE_SIZE) if image is None else image
        height, width = read_picture(file).rgb.shape[:2]
        what = f"{width} x {height} {file.suffix.lstrip('.').lower()}"
        first = _made(folder / "first.jpg", FIRST_SIZE)
        derain = ["--model", str(derainer.model_path), *_threads(threads)]
        times = (
            measure_files(derainer, [file], folder, f"{what}, one by one", repeats, on_run),
            measure_files(
                derainer, [file] * _BATCH, folder, f"{what}, {_BATCH} at once", repeats, on_run
            ),
            measure_command(
                [str(first), *derain, "-o", str(folder / "first_out.jpg"), "--force"],
                f"first {FIRST_SIZE[1]} x {FIRST_SIZE[0]} of a process",
                FIRST_TARGET_MS,
                repeats,
                on_run,
            ),
            measure_command(["--help"], "--help", HELP_TARGET_MS, repeats, on_run),
            measure_command(["--version"], "--version", HELP_TARGET_MS, repeats, on_run),
        )
    return Bench(
        machine=machine(),
        threads=threads,
        model=derainer.card.name,
        precision=derainer.card.precision,
        engine=derainer.session.name,
        provider=derainer.session.provider,
        times=times,
    )


def runs(repeats: int = _REPEATS) -> int:
    """Return how often ``bench`` calls ``on_run``."""
    return 5 * (_WARM_UP + repeats)


def measure_files(
    derainer: Derainer,
    files: Sequence[Path],
    folder: Path,
    what: str,
    repeats: int = _REPEATS,
    on_run: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter,
) -> Times:
    """Measure reading, deraining and writing ``files``, as a batch, against the engine alone.

    Times are for one file. With several, loading and saving overlap with the engine, and what
    remains is the first that is loaded and the last that is saved.

    Raises:
        ImageError: One of them failed.
    """
    session = TimedSession(derainer.session, clock)
    timed = derainer.with_session(session)
    jobs = [Job(file, folder / f"out{n}{file.suffix}") for n, file in enumerate(files)]

    def run() -> tuple[float, float]:
        session.seconds = 0.0
        start = clock()
        for outcome in derain_batch(timed, jobs):
            if outcome.error is not None:
                raise ImageError(outcome.error)
        return (clock() - start) / len(jobs), session.seconds / len(jobs)

    found = _repeated(run, repeats, on_run)
    times = _times(what, (whole for whole, _ in found), RATIO_TARGET)
    return dataclasses.replace(
        times,
        engine_ms=statistics.median(engine for _, engine in found) * 1000,
        ratio=statistics.median(whole / engine for whole, engine in found),
    )


def measure_command(
    arguments: Sequence[str],
    what: str,
    target_ms: float,
    repeats: int = _REPEATS,
    on_run: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter,
) -> Times:
    """Measure ``edge-derain`` with ``arguments`` in fresh processes, interpreter included.

    Raises:
        EdgeDerainError: It failed.
    """
    # Where the checkout is the working folder, it would be found anyway.
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "edge_runtime.cli", *arguments]

    def run() -> float:
        start = clock()
        done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": path})
        seconds = clock() - start
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise EdgeDerainError(f"{what}: exit code {done.returncode} ({said})")
        return seconds

    return _times(what, _repeated(run, repeats, on_run), target_ms)


def bench_table(times: Iterable[Times]) -> list[str]:
    """Return the lines of a table: a header, then one line each."""
    rows = [("", "ms", "p95", "engine ms", "ratio", "target", "")]
    for row in times:
        unit = "" if row.ratio is not None else " ms"
        rows.append(
            (
                row.what,
                f"{row.median_ms:.0f}",
                f"{row.p95_ms:.0f}",
                "-" if row.engine_ms is None else f"{row.engine_ms:.0f}",
                "-" if row.ratio is None else f"{row.ratio:.2f}",
                "-" if row.target is None else f"{row.target:g}{unit}",
                {None: "", True: "met", False: "missed"}[row.met],
            )
        )
    return aligned(rows, numbers=range(1, 6))


def _repeated(run: Callable[[], Found], repeats: int, on_run: Callable[[], object]) -> list[Found]:
    found = []
    for _ in range(_WARM_UP + repeats):
        found.append(run())
        on_run()
    return found[_WARM_UP:]


def _times(what: str, seconds: Iterable[float], target: float | None) -> Times:
    milliseconds = [1000 * second for second in seconds]
    median, p95 = np.percentile(milliseconds, [50, 95])
    return Times(
        what=what,
        median_ms=float(median),
        p95_ms=float(p95),
        repeats=len(milliseconds),
        warm_up=_WARM_UP,
        target=target,
    )


def _threads(threads: int | None) -> list[str]:
    return [] if threads is None else ["--threads", str(threads)]


def _made(path: Path, size: tuple[int, int]) -> Path:
    """Write a picture that compresses about as photographs do: clouds with a little grain."""
    height, width = size
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    clouds = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = generator.integers(-6, 7, (height, width, 1), np.int16)
    write_picture(path, Picture(np.clip(clouds + grain, 0, 255).astype(np.uint8), quality=92))
    return path
