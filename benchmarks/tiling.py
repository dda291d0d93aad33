"""Time and peak memory of whole and tiled pictures, each in a process of its own.

    python benchmarks/tiling.py --megapixels 1 12 --tiles 0 512 768 1024

Prints a Markdown table. Ratios are against the whole picture of the same size (tile 0, which is
always measured), from the same run: machines are shared and noisy, ratios less so. Memory is the
peak resident size of the process less what it held before the first picture.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 8, 12])
    parser.add_argument("--tiles", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measure(**json.loads(arguments.measure))))
        return
    print(
        f"{arguments.model}, {arguments.threads} threads, median of {arguments.repeats}, "
        f"onnxruntime {version('onnxruntime')}, {platform.machine()}\n"
    )
    print("| megapixels | tile | seconds | of whole | peak MB | of whole |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for megapixels in arguments.megapixels:
        whole: dict[str, float] = {}
        for tile in [0, *(tile for tile in arguments.tiles if tile)]:
            found = _in_a_process(
                model=arguments.model,
                megapixels=megapixels,
                tile=tile,
                threads=arguments.threads,
                repeats=arguments.repeats,
            )
            whole = whole or found
            seconds, peak = found["seconds"], found["peak_mb"]
            print(
                f"| {megapixels:g} | {tile or 'whole'} | {seconds:.2f} "
                f"| {seconds / whole['seconds']:.2f} | {peak:.0f} "
                f"| {peak / whole['peak_mb']:.2f} |",
                flush=True,
            )


def _in_a_process(**task: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", json.dumps(task)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _measure(
    model: str, megapixels: float, tile: int, threads: int, repeats: int
) -> dict[str, float]:
    import resource

    import numpy as np

    from edge_runtime import Derainer

    side = round((megapixels * 1e6 / 12) ** 0.5)
    picture = np.random.default_rng(0).integers(0, 256, (3 * side, 4 * side, 3), np.uint8)
    derainer = Derainer.load(model, threads=threads, tile=tile)

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before = peak()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        derainer(picture)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "peak_mb": peak() - before}


if __name__ == "__main__":
    main()
