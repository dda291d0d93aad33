"""How long a method takes for one picture, measured alike for all of them."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from core.evaluation.evaluate import Derain
from core.pairs import Image
from edge_runtime.report.reference import SHIPPED, read_reference

HEIGHT, WIDTH = 320, 480
"""Size of the pictures of Rain100."""


def timing_picture() -> Image:
    """Return a rainy picture of the shipped reference set, mirrored to 480x320 pixels.

    Returns:
        uint8 (320, 480, 3) RGB.
    """
    reference = read_reference(SHIPPED)
    picture = next(p for p in reference.index.pictures if p.dataset == "heavy")
    rainy = reference.read(picture, "rainy")
    height, width = rainy.shape[:2]
    margins = ((0, max(0, HEIGHT - height)), (0, max(0, WIDTH - width)), (0, 0))
    return np.ascontiguousarray(np.pad(rainy, margins, mode="symmetric")[:HEIGHT, :WIDTH])


def seconds(derain: Derain, rainy: Image, repeats: int = 3) -> float:
    """Return the median processor time of one picture on one thread, after one warm-up.

    On an idle machine that is the wall time; other work on the machine hardly touches it.

    Args:
        derain: takes and returns uint8 (H, W, 3) RGB.
        rainy: the picture.
        repeats: timed runs.
    """
    taken = []
    with one_thread():
        derain(rainy)
        for _ in range(repeats):
            start = time.process_time()
            derain(rainy)
            taken.append(time.process_time() - start)
    return statistics.median(taken)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch and the libraries of NumPy and scikit-learn to one thread."""
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
