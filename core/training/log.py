"""The log of a run: its numbers, curves and pictures."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from core.errors import TrainingError, disk_errors
from core.pairs import Image
from edge_runtime.files import replacing
from edge_runtime.pictures.picture import Picture, write_picture

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_LINE = 4  # white pixels between pictures


class RunLog:
    """What a run says of itself in ``folder``: numbers, curves and pictures.

    ``metrics.csv`` has the columns step, name and value; ``curves.png`` draws them, and
    ``SET.png`` shows a picture of each validation set: rainy, derained and clean. TensorBoard's
    events hold all of it, of every validation.

    A resumed run goes on in the same table. What a run that was killed had logged beyond the
    state that it left is dropped, because those steps are taken again.

    Args:
        folder: made if it is missing.
        step: finished steps; 0 starts afresh.
        write: whether anything is written at all; of several processes only one should.

    Raises:
        TrainingError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, step: int, write: bool = True) -> None:
        self._table = folder / "metrics.csv"
        self._events: SummaryWriter | None = None
        if not write:
            return
        with disk_errors(self._table, TrainingError):
            folder.mkdir(parents=True, exist_ok=True)
            before = _rows(self._table) if step and self._table.exists() else []
            rows = [("step", "name", "value"), *(row for row in before if int(row[0]) <= step)]
            with replacing(self._table) as temporary:
                _append(temporary, rows)
        self._events = _event_writer(folder, step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers of one step, by name; raises TrainingError when the disk does not take it."""
        if self._events is None:
            return
        rows = [(str(step), name, repr(float(value))) for name, value in values.items()]
        with disk_errors(self._table, TrainingError):
            _append(self._table, rows)
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def show(self, step: int, name: str, pictures: Sequence[Image]) -> None:
        """Keep pictures of one size, uint8 (H, W, 3) RGB, side by side under a name."""
        if self._events is None:
            return
        height = pictures[0].shape[0]
        line = np.full((height, _LINE, 3), 255, np.uint8)
        strip = np.hstack([part for each in pictures for part in (each, line)][:-1])
        write_picture(self._table.with_name(f"{name}.png"), Picture(strip))
        self._events.add_image(name, strip, step, dataformats="HWC")

    def draw(self) -> None:
        """Draw the numbers so far: the losses, and the scores over them."""
        if self._events is None:
            return
        from matplotlib.figure import Figure

        curves: dict[str, list[tuple[int, float]]] = {}
        for step, name, value in _rows(self._table):
            curves.setdefault(name, []).append((int(step), float(value)))
        figure = Figure(figsize=(8, 8), layout="constrained")
        scores, losses = figure.subplots(2, sharex=True)
        for name, points in curves.items():
            if name == "score" or name.endswith("/rgb_psnr"):
                scores.plot(*zip(*points, strict=True), ".-", label=name.removesuffix("/rgb_psnr"))
            elif "/" not in name and name not in ("learning_rate", "waiting"):
                losses.plot(*zip(*points, strict=True), label=name)
        for axes, title in ((scores, "PSNR in dB, rgb"), (losses, "loss")):
            axes.set_ylabel(title)
            axes.legend()
            axes.grid(alpha=0.3)
        losses.set_xlabel("step")
        picture = self._table.with_name("curves.png")
        with disk_errors(picture, TrainingError), replacing(picture) as temporary:
            figure.savefig(temporary, format="png")

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()


def _rows(table: Path) -> list[tuple[str, ...]]:
    """Rows without the header, and without one that was torn by a kill."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    return [row for row in rows if len(row) == 3 and row[0].isdigit()]


def _append(table: Path, rows: Iterable[tuple[str, ...]]) -> None:
    with table.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _event_writer(folder: Path, first_step: int) -> SummaryWriter:
    # TensorBoard's own switch: with this module it leaves an installed TensorFlow alone.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)
