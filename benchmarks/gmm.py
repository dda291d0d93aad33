"""Seconds a picture of the Gaussian mixtures (derain evaluate --method gmm).

    python benchmarks/gmm.py

Takes a rainy picture of the shipped reference set, mirrored to the 480x320 pixels of Rain100, on
one thread, and prints the median processor time of the repeats after one warm-up as a Markdown
table: with fewer iterations, and with patches at every pixel as in the paper.
"""

from __future__ import annotations

import argparse
import platform

import numpy as np

from core.papers.gmm.derain import GmmConfig, gmm_derainer
from core.papers.gmm.files import load_background
from core.papers.seconds import seconds, timing_picture
from edge_runtime.machine import machine


def main() -> None:
    """Time the settings and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="timed runs (default: 3)")
    options = parser.parse_args()
    background, rainy = load_background(), timing_picture()
    standard = GmmConfig()
    print(
        f"{rainy.shape[1]}x{rainy.shape[0]}, {len(background.weights)} components, "
        f"{options.repeats} repeats, one thread, {machine().cpu}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}\n"
    )
    print("| iterations | patches every | seconds a picture |")
    print("| ---: | ---: | ---: |")
    for settings in (GmmConfig(iterations=2), standard, GmmConfig(stride=1)):
        taken = seconds(gmm_derainer(background, settings), rainy, options.repeats)
        print(f"| {settings.iterations} | {settings.stride} px | {taken:.2f} |")


if __name__ == "__main__":
    main()
