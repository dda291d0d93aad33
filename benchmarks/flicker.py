"""Flicker of a rainy clip: as it is, derained, and derained with --steady.

    python benchmarks/flicker.py data/public_test/video_ra1

Takes a folder of pictures that are the frames, or a video. Prints a Markdown table. Which pixels
are static is decided once, on the derained clip, so the rows are comparable.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime import Derainer
from edge_runtime.pictures.picture import find_pictures, read_picture
from edge_runtime.video.files import open_reader
from edge_runtime.video.flicker import measure_flicker
from edge_runtime.video.frames import Frame
from edge_runtime.video.steady import Steadier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, help="folder of frames, or video")
    parser.add_argument("--model", default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, default=60, help="frames taken (default: 60)")
    arguments = parser.parse_args()
    rainy = [frame for frame, _ in zip(_frames(arguments.clip), range(arguments.limit))]  # noqa: B905
    derainer = Derainer.load(arguments.model, threads=arguments.threads)
    derained = list(derainer.frames(rainy))
    steadied, milliseconds = _timed(Steadier(), derained)
    height, width = rainy[0].shape[:2]
    print(f"{arguments.clip.name}, {len(rainy)} frames of {width} x {height}, {arguments.model}\n")
    print("| clip | flicker | sharpness where it moves |")
    print("| --- | ---: | ---: |")
    for name, clip in (("rainy", rainy), ("derained", derained), ("steadied", steadied)):
        found = measure_flicker(clip, derained)
        print(f"| {name} | {found.flicker:.2f} | {found.moving_sharpness:.2f} |")
    print(f"\nStatic: {found.static_share:.0%} of the pixels.")
    print(f"Steadying: {milliseconds:.1f} ms a frame, median.")


def _frames(clip: Path) -> Iterator[NDArray[np.uint8]]:
    if clip.is_dir():
        for path in find_pictures(clip):
            yield read_picture(path).rgb
        return
    with closing(open_reader(clip)) as reader:
        for item in reader:
            if isinstance(item, Frame):
                yield item.rgb


def _timed(
    function: Callable[[Any], Any], frames: list[NDArray[np.uint8]]
) -> tuple[list[NDArray[np.uint8]], float]:
    """Return the results and the median milliseconds of one."""
    results, seconds = [], []
    for frame in frames:
        start = time.perf_counter()
        results.append(function(frame))
        seconds.append(time.perf_counter() - start)
    return results, statistics.median(seconds) * 1000


if __name__ == "__main__":
    main()
