"""Peak memory and time of pictures of several sizes, whole and tiled, in each engine.

    python benchmarks/memory.py --megapixels 1 8.3 12 48 --tiles 0 auto --rounds 3

Each line is a JPEG file that is read, derained and written in a process of its own, which is what
`edge-derain` does. Memory is all that the process held at most. Times are per megapixel: by the
clock, of deraining alone; and the processor's for everything, which other processes disturb less;
the smallest picture comes once before, uncounted. Rounds take turns through all lines, medians
count, and ratios are of the processor's times against the first line of the same engine. Prints
Markdown; how far it is goes to a terminal.
Every picture is derained at full size, unless --scale says otherwise.
Whole pictures (tile 0) above --whole-up-to megapixels are left out: they take gigabytes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from edge_runtime.errors import EdgeDerainError, UsageError
from edge_runtime.machine import machine
from edge_runtime.models.catalog import list_models
from edge_runtime.options import whole_or_auto
from edge_runtime.pyramid import Scale
from edge_runtime.report.measure import peak_memory_of


@dataclass
class Line:
    backend: str
    artifact: Path
    megapixels: float
    tile: int | None
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)

    def milliseconds(self, seconds: list[float]) -> float:
        """Return the median as milliseconds a megapixel."""
        return statistics.median(seconds) * 1000 / self.megapixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--precision", choices=("float", "int8"), default="float")
    parser.add_argument("--backends", nargs="+", default=list(machine().engines))
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 8.2944, 12, 48])
    parser.add_argument("--tiles", type=_tile, nargs="+", default=[0, None])
    parser.add_argument("--whole-up-to", type=float, default=12)
    parser.add_argument("--scale", type=whole_or_auto, default=1, help="as edge-derain takes it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        report(arguments)
    except EdgeDerainError as error:
        parser.exit(error.exit_code, f"memory.py: error: {error}\n")


def report(arguments: argparse.Namespace) -> None:
    """Measure and print what the options ask for."""
    artifacts = {
        backend: shipped(arguments.model, backend, arguments.precision)
        for backend in arguments.backends
    }
    lines = [
        Line(backend, artifacts[backend], megapixels, tile)
        for backend in arguments.backends
        for megapixels in arguments.megapixels
        for tile in arguments.tiles
        if tile != 0 or megapixels <= arguments.whole_up_to
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = folder / f"{min(arguments.megapixels):g}.jpg"
        for megapixels in arguments.megapixels:
            peak_memory_of(make, folder / f"{megapixels:g}.jpg", megapixels)
        for line in tqdm(lines * arguments.rounds, unit="run", leave=False, disable=None):
            found = peak_memory_of(
                derain,
                (warm, folder / f"{line.megapixels:g}.jpg"),
                line.artifact,
                arguments.threads,
                line.tile,
                arguments.scale,
            )
            line.seconds.append(found.result[0])
            line.cpu.append(found.result[1])
            line.peaks.append(found.peak_bytes)
    where = machine()
    print(
        f"{where.cpu}, {where.system}, {', '.join(where.engines.values())}; threads: "
        f"{arguments.threads}; --scale {arguments.scale}; medians of {arguments.rounds} rounds.\n"
    )
    print("| artifact | megapixels | tile | ms a megapixel | CPU ms | of the first | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for line in lines:
        first = next(other for other in lines if other.backend == line.backend)
        tile = {None: "auto", 0: "whole"}.get(line.tile, line.tile)
        print(
            f"| {line.artifact.name} | {line.megapixels:g} | {tile} "
            f"| {line.milliseconds(line.seconds):.0f} | {line.milliseconds(line.cpu):.0f} "
            f"| {line.milliseconds(line.cpu) / first.milliseconds(first.cpu):.2f} "
            f"| {statistics.median(line.peaks) / 1e6:.0f} |"
        )


def shipped(model: str, backend: str, precision: str) -> Path:
    """Return the artifact that an engine runs: its most precise float one, or its int8 one."""
    wanted = ("fp32", "fp16") if precision == "float" else (precision,)
    found = {
        card.precision: path
        for path, card in list_models()
        if (card.name, card.format) == (model, backend)
    }
    for each in wanted:
        if each in found:
            return found[each]
    raise UsageError(
        f"--model {model}: no {precision} artifact for {backend} ships; choose others from "
        "edge-derain --list-models"
    )


def make(path: Path, megapixels: float) -> None:
    """Write a 16:9 picture of clouds and grain."""
    import cv2
    import numpy as np

    from edge_runtime.pictures.picture import Picture, write_picture

    generator = np.random.default_rng(0)
    width = round((megapixels * 1e6 * 16 / 9) ** 0.5)
    height = round(megapixels * 1e6 / width)
    coarse = generator.integers(0, 256, (18, 32, 3), np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture += generator.integers(0, 8, (height, width, 1), np.uint8)
    write_picture(path, Picture(picture, quality=90))


def derain(
    paths: tuple[Path, Path], artifact: Path, threads: int, tile: int | None, scale: Scale = 1
) -> tuple[float, float]:
    """Read, derain and write two pictures, of which the first only warms up.

    Returns:
        Seconds of the second: of deraining by the clock, of the processor for everything.
    """
    import time

    from edge_runtime import Derainer
    from edge_runtime.errors import ImageError
    from edge_runtime.pictures.batch import derain_batch
    from edge_runtime.pictures.plan import Job

    derainer = Derainer.load(artifact, threads=threads, tile=tile, scale=scale)
    for path in paths:
        start = time.process_time()
        (outcome,) = derain_batch(derainer, [Job(path, path.with_name("out.jpg"))])
        if outcome.error is not None:
            raise ImageError(outcome.error)
    return outcome.seconds, time.process_time() - start


def _tile(text: str) -> int | None:
    return None if text == "auto" else int(text)


if __name__ == "__main__":
    main()
