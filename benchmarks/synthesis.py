"""How many 128x128 crops a second the rain renderer makes; run: python benchmarks/synthesis.py

Every preset renders new scenes on one clean crop, veil and camera included, in as many processes
as the data loader would have. Reported are medians over the repeats, after a warm-up: crops a
second on the clock, which other work on the machine lowers, and processor time a crop, which it
hardly touches.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np

from core.rain.config import PRESETS
from core.rain.render import render
from core.rain.scene import draw_scene

CROP, CROPS = 128, 100


def render_crops(preset: str, seed: int) -> float:
    """Render ``CROPS`` crops of new scenes on one thread; returns seconds of processor time."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 256, (CROP, CROP, 3), np.uint8)
    start = time.process_time()
    for _ in range(CROPS):
        render(clean, draw_scene(PRESETS[preset], rng))
    return time.process_time() - start


def main() -> None:
    """Time every preset and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{options.processes} processes, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, OpenCV {cv2.__version__}"
    )
    with ProcessPoolExecutor(options.processes) as pool:
        for preset in PRESETS:
            rates, costs = [], []
            for repeat in range(options.repeats + 1):
                start = time.perf_counter()
                work = [
                    pool.submit(render_crops, preset, repeat * options.processes + process)
                    for process in range(options.processes)
                ]
                costs.extend(task.result() / CROPS for task in work)
                rates.append(options.processes * CROPS / (time.perf_counter() - start))
            cost = 1000 * statistics.median(costs[options.processes :])
            rate = statistics.median(rates[1:])
            print(f"{preset:6s} {rate:5.0f} crops a second, {cost:.2f} ms of processor time a crop")


if __name__ == "__main__":
    main()
