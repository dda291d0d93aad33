"""Expected speed of the shipped models on boards that nobody measured yet: a roofline.

    python benchmarks/roofline.py --size 1280x720

Three numbers make a time: what a model computes (MACs per pixel, from its card), what a board can
compute at most (cores x clock x MACs per cycle, from what its makers say), and which part of that
an engine reaches with this model, which this run measures here: one thread, in processor time, so
that other programs disturb little. The peak here is what a matrix product of numpy reaches in
float32, and four times that in int8 where there are dot products, as on ARM: one instruction then
multiplies four times as many numbers.

A board is assumed to reach the same part, on each of its cores. Its memory may be too slow for that
and its heat too much, so every time is an estimate, and a low one, until ``edge-report`` has
measured it there.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.derainer import Derainer
from edge_runtime.machine import has_int8_dot_products, machine
from edge_runtime.models.card import ModelCard
from edge_runtime.models.catalog import list_models
from edge_runtime.report.measure import measure_latency

INT8_GAIN = 4
"""MACs of a dot product instruction for each of a float32 one: SDOT and VNNI alike."""


@dataclass(frozen=True)
class Board:
    """What the makers say of a board.

    Attributes:
        name: Of the board, with its processor.
        cores: How many there are.
        gigahertz: Clock of each.
        macs_per_cycle: Multiply-accumulates in float32 of one core in one cycle at most.
        dot_products: Whether there are int8 dot products (asimddp). Without them int8 is not faster
            than float32, and no estimate is made.
    """

    name: str
    cores: int
    gigahertz: float
    macs_per_cycle: int
    dot_products: bool

    def peak(self, precision: str) -> float | None:
        """Return MACs a second of all cores; None where there is no estimate."""
        if precision == "int8" and not self.dot_products:
            return None
        gain = INT8_GAIN if precision == "int8" else 1
        return self.cores * self.gigahertz * 1e9 * self.macs_per_cycle * gain


BOARDS = (
    # Sources are in docs/boards.md.
    Board("Raspberry Pi 4, Cortex-A72", 4, 1.8, 4, False),
    Board("Raspberry Pi 5, Cortex-A76", 4, 2.4, 8, True),
    Board("Jetson Orin Nano, its CPU, Cortex-A78AE", 6, 1.5, 8, True),
)


@dataclass(frozen=True)
class Measured:
    """What an artifact reached here.

    Attributes:
        card: Of the artifact.
        milliseconds: Median of the engine alone, on one thread.
        share: MACs a second, of those of the peak here.
    """

    card: ModelCard
    milliseconds: float
    share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1280x720", metavar="WxH")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    match = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if not match:
        parser.error(f"--size {arguments.size}: must be WIDTHxHEIGHT, such as 1280x720")
    width, height = int(match[1]), int(match[2])
    peak = float_peak()
    found = [
        measured
        for path, card in sorted(list_models(), key=lambda model: model[1].macs_per_pixel)
        if (measured := measure(str(path), card, (height, width), arguments.repeats, peak))
    ]
    where = machine()
    print(
        f"{width} x {height}. Measured on {where.cpu} ({where.system}), 1 thread, processor time "
        f"of the engine alone, median of {arguments.repeats}, {', '.join(where.engines.values())}; "
        f"matrix product {peak / 1e9:.1f} GMAC/s in float32.\n"
    )
    print("\n".join(table(found, BOARDS, height * width)))


def float_peak(
    side: int = 1536, repeats: int = 7, clock: Callable[[], float] = time.process_time
) -> float:
    """Return the MACs a second of a float32 matrix product of numpy, the best of several."""
    left, right = np.random.default_rng(0).random((2, side, side), np.float32)
    seconds = []
    for _ in range(repeats):
        start = clock()
        left @ right
        seconds.append(clock() - start)
    return float(side**3 / min(seconds))


def measure(
    path: str, card: ModelCard, size: tuple[int, int], repeats: int, peak: float
) -> Measured | None:
    """Time an artifact on one thread; None where its peak here is not known."""
    gain = INT8_GAIN if card.precision == "int8" else 1
    if gain > 1 and not has_int8_dot_products():
        return None
    with Derainer.load(path, threads=1) as derainer:
        latency = measure_latency(
            derainer, *size, warm_up=1, repeats=repeats, clock=time.process_time
        )
    reached = card.macs_per_pixel * size[0] * size[1] / (latency.engine_ms / 1000)
    return Measured(card, latency.engine_ms, reached / (peak * gain))


def table(found: Sequence[Measured], boards: Sequence[Board], pixels: int) -> list[str]:
    """Return the lines of a Markdown table: what was measured here, and estimates of the boards."""
    heads = ["model", "engine", "kMAC/pixel", "ms here", "of the peak"]
    heads += [f"{board.name} (estimate)" for board in boards]
    lines = [f"| {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * (len(heads) - 2)}"]
    for one in found:
        card = one.card
        cells = [f"{card.name} {card.precision}", card.format, f"{card.macs_per_pixel / 1000:.1f}"]
        cells += [f"{one.milliseconds:.0f}", f"{one.share:.0%}"]
        cells += [_estimate(one, board, pixels) for board in boards]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _estimate(one: Measured, board: Board, pixels: int) -> str:
    peak = board.peak(one.card.precision)
    if peak is None:
        return "–"
    seconds = one.card.macs_per_pixel * pixels / (peak * one.share)
    return f"{seconds * 1000:.0f} ms, {1 / seconds:.1f} frames/s"


if __name__ == "__main__":
    main()
