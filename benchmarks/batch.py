"""How long the engine waits in a batch of files: time from end to end over time in the engine.

    python benchmarks/batch.py --pictures 24 --format jpg

Makes pictures of 1280 x 720 in a temporary folder, derains them twice, as ``edge-derain`` does and
one step after the other, and prints a Markdown table. The first picture, which waits for its
loading, is left out. A ratio of 1 means that loading and saving cost nothing.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import cv2

from edge_runtime import Derainer
from edge_runtime.pictures.batch import Outcome, Settings, derain_batch
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from edge_runtime.pictures.plan import Job, plan

EXAMPLE = Path(__file__).parents[1] / "examples" / "temple.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--format", default="jpg")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    derainer = Derainer.load(arguments.model, threads=arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        jobs = _make(Path(folder), arguments.pictures + 1, arguments.format)
        overlapped = _measure(derainer, jobs, Settings(), at_once=True)
        apart = _measure(derainer, jobs, Settings(), at_once=False)
    print(
        f"{arguments.pictures} {arguments.format} of 1280 x 720, {arguments.model}, "
        f"{arguments.threads} threads, onnxruntime {version('onnxruntime')}, {platform.machine()}\n"
    )
    print("| | ms a picture | of that in the engine | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name, (whole, engine) in (("overlapped", overlapped), ("one by one", apart)):
        print(f"| {name} | {whole * 1000:.0f} | {engine * 1000:.0f} | {whole / engine:.2f} |")


def _make(folder: Path, count: int, suffix: str) -> list[Job]:
    picture = read_picture(EXAMPLE)
    enlarged = Picture(cv2.resize(picture.rgb, (1280, 720), interpolation=cv2.INTER_CUBIC))
    for number in range(count):
        write_picture(folder / f"{number:03}.{suffix}", enlarged)
    return plan([str(folder)], str(folder / "out"))


def _measure(
    derainer: Derainer, jobs: Sequence[Job], settings: Settings, *, at_once: bool
) -> tuple[float, float]:
    """Return seconds a picture, (from end to end, in the engine)."""
    engine, start = 0.0, 0.0

    def count(outcome: Outcome) -> None:
        nonlocal engine, start
        if outcome.error is not None:
            raise SystemExit(outcome.error)
        if start:
            engine += outcome.seconds
        else:
            start = time.perf_counter()

    if at_once:
        for outcome in derain_batch(derainer, jobs, settings):
            count(outcome)
    else:
        for job in jobs:
            for outcome in derain_batch(derainer, [job], settings):
                count(outcome)
    counted = len(jobs) - 1
    return (time.perf_counter() - start) / counted, engine / counted


if __name__ == "__main__":
    main()
