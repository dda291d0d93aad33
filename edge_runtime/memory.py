"""Keep a batch within an amount of memory: choose the tiles, and let in only so many pictures.

The model is ``base + picture pixels * bytes each + window pixels * bytes each``. The first is
what the process holds when the model is open, the second was measured for each file format (read,
derained and written, 6 megapixels), the third is measured for the model at hand on this machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np

from edge_runtime.derainer import WINDOW_PIXELS, Derainer
from edge_runtime.errors import ImageError, UsageError
from edge_runtime.pictures.metadata import (
    picture_depth,
    picture_format,
    picture_quality,
    picture_size,
)
from edge_runtime.pictures.plan import Job
from edge_runtime.pictures.sources import STDIO
from edge_runtime.report.measure import resident_bytes

PIXELS_IN_FLIGHT = 25_000_000
"""Pixels that may be loaded and not yet saved where no limit is given; one picture always may."""

_PICTURE_BYTES = {".jpg": 14, ".png": 12, ".webp": 18, ".tif": 14, ".bmp": 16, ".avif": 34}
"""For one pixel of 8 bits a channel."""
_LOSSLESS_WEBP_BYTES = 48
_DEEP_PICTURE_BYTES = 24  # 16 bits a channel
_LEAST_WINDOW_BYTES = 80  # for systems that do not tell, or not finely
_M_MMAP_THRESHOLD = -3  # of malloc.h
_PROBE_SIDE = 384
_SMALLEST_TILE = 64
_SAFETY = 1.2


@dataclass(frozen=True)
class MemoryPlan:
    """How a batch stays within its memory.

    Attributes:
        window_pixels: What is derained in one piece, as ``Derainer`` takes it.
        picture_bytes: What pictures may take while they are loaded and not yet saved.
        strict: Whether a single picture that takes more is refused.
    """

    window_pixels: int | None
    picture_bytes: int
    strict: bool


def plan_without_limit() -> MemoryPlan:
    """Return a plan that lets pictures overlap as long as they are not huge."""
    return MemoryPlan(None, PIXELS_IN_FLIGHT * _PICTURE_BYTES[".jpg"], False)


def plan_memory(
    derainer: Derainer, jobs: Iterable[Job] | None, limit: int, *, workers: int = 1
) -> MemoryPlan:
    """Choose the windows with which the largest of the pictures that can fit does fit.

    Args:
        derainer: The opened model.
        jobs: What will be derained. Files are opened for their headers only. None is not known
            yet: half of what is free is then for pictures.
        limit: Bytes that the process may hold.
        workers: Pictures that are derained at once.

    Raises:
        UsageError: Not even a small picture fits, or the model cannot be tiled exactly.
    """
    if not derainer.card.tiling_exact:
        raise UsageError(
            f"--max-memory: {derainer.card.name} gives other results in tiles; choose --tile"
        )
    return_large_blocks_at_once(strictly=True)
    free = (limit - resident_bytes()) / _SAFETY
    window_bytes = _measure_window(derainer) * workers
    smallest = window_bytes * (_SMALLEST_TILE + 2 * derainer.card.halo) ** 2
    if free < smallest * 1.5:
        needed = (limit - free * _SAFETY + 1.5 * smallest * _SAFETY) / 10**6
        raise UsageError(
            f"--max-memory {limit / 10**6:.0f}MB: too little for {derainer.card.name}; "
            f"give at least {needed:.0f}MB"
        )
    known = [Job(STDIO, STDIO)] if jobs is None else jobs
    costs = [_peek(job) if job.source != STDIO else free / 2 for job in known]
    costs = [cost for cost in costs if cost <= free - smallest]
    for_window = max(free - max(costs, default=0), smallest)
    pixels = min(int(for_window / window_bytes), WINDOW_PIXELS)
    return MemoryPlan(pixels, int(free - pixels * window_bytes), True)


def picture_cost(data: bytes, target: str = "") -> int:
    """Return the bytes that an encoded picture takes from reading to writing, itself included.

    Args:
        data: The encoded picture, or at least its header.
        target: Suffix of what it is written to; an empty one is that of the input.
    """
    size = picture_size(data)
    if size is None:
        return len(data)
    suffix = picture_format(data) or ""
    each = max(_PICTURE_BYTES[suffix], _PICTURE_BYTES.get(target, 0))
    if ".webp" in (target or suffix) and picture_quality(data) == 100:
        each = _LOSSLESS_WEBP_BYTES
    if picture_depth(data) > 8:
        each = max(each, _DEEP_PICTURE_BYTES)
    return size[0] * size[1] * each + len(data)


class MemoryGate:
    """Lets pictures in, in order, as long as all that are inside stay within the plan.

    One picture is always let in, unless the plan is strict: there it is refused.
    """

    def __init__(self, plan: MemoryPlan, stop: threading.Event) -> None:
        self._plan = plan
        self._stop = stop
        self._held = 0
        self._turn = 0
        self._changed = threading.Condition()

    def enter(self, turn: int, cost: int, name: str) -> None:
        """Wait until all before ``turn`` (0, 1, ...) have entered and ``cost`` bytes are free.

        Raises:
            ImageError: It can never fit. Nothing is held for it then.
            InterruptedError: The work was stopped meanwhile.
        """
        with self._changed:
            while turn != self._turn or (
                self._held
                and self._held + cost > self._plan.picture_bytes
                and not self._never(cost)
            ):
                if self._stop.is_set():
                    raise InterruptedError
                self._changed.wait(0.1)
            self._turn += 1
            self._changed.notify_all()
            if self._never(cost):
                takes, left = (round(n / 10**6) for n in (cost, self._plan.picture_bytes))
                raise ImageError(
                    f"{name}: takes {takes} MB, and {left} MB are left for it; "
                    "raise --max-memory, or reduce or split it"
                )
            self._held += cost

    def leave(self, cost: int) -> None:
        """Give back what was entered with."""
        with self._changed:
            self._held -= cost
            self._changed.notify_all()

    def _never(self, cost: int) -> bool:
        return self._plan.strict and cost > self._plan.picture_bytes


def _peek(job: Job) -> int:
    try:
        with (
            open(job.source, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return picture_cost(cast("bytes", data), job.target.suffix.lower())
    except (OSError, ValueError):
        return 0  # reading it will say what is wrong


def _measure_window(derainer: Derainer) -> float:
    """Return the bytes that one pixel of a window takes while it is derained, measured."""
    before = resident_bytes()
    whole = derainer.with_session(derainer.session, _PROBE_SIDE**2)
    whole(np.zeros((_PROBE_SIDE, _PROBE_SIDE, 3), np.uint8))
    grown = resident_bytes(peak=True) - before
    return max(grown / _PROBE_SIDE**2, _LEAST_WINDOW_BYTES)


def return_large_blocks_at_once(*, strictly: bool = False) -> None:
    """Keep glibc from holding freed pictures back in a pool of each thread.

    Its threshold for that grows with what it sees, to 32 MB, unless it is set once.

    Args:
        strictly: Do so for blocks from 1 MB, rather than 8: a new block costs time.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << (20 if strictly else 23))
