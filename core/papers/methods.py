"""Methods of the comparison: which they are, their scores, what they cost and how to run them."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from core.checkpoint import SHIPPED, TrainingCost, load_checkpoint
from core.config import nearest
from core.errors import ConfigError, DataError
from core.evaluation.evaluate import Derain
from core.evaluation.table import by_column, card_command, card_of
from core.inference import derainer_of
from core.pairs import Image
from core.papers.gmm.derain import gmm_derainer
from core.papers.gmm.mixture import SHIPPED as BACKGROUND
from core.papers.gmm.mixture import load_background
from edge_runtime.models.card import QualityRow
from edge_runtime.models.records import from_plain
from edge_runtime.report.reference import SHIPPED as REFERENCE
from edge_runtime.report.reference import read_reference

CONFIG = Path(__file__).parents[2] / "configs" / "papers" / "comparison.yaml"
"""Like the checkpoints that it names, part of a checkout and not of a built package."""


@dataclass(frozen=True)
class MethodConfig:
    """One line of the comparison: a checkpoint, or a method without a network.

    Attributes:
        name: what the tables call it.
        paper: where it comes from.
        checkpoint: shipped name.
        method: ``gmm``, whose scores are in a file beside its code.
        strip: show what it makes of a picture.

    Raises:
        ConfigError: neither a checkpoint nor a method, or both.
    """

    name: str
    paper: str
    checkpoint: str = ""
    method: Literal["", "gmm"] = ""
    strip: bool = False

    def __post_init__(self) -> None:
        if bool(self.checkpoint) == bool(self.method):
            raise ConfigError(f"{self.name}: needs either a checkpoint or a method; give one")


@dataclass(frozen=True)
class PrintedConfig:
    """A figure that a paper prints.

    Attributes:
        method: name of the line that it belongs to.
        dataset: such as ``rain100l``, or in words where the paper does not say.
        psnr: in dB.
        ssim: None where the paper gives none.
        source: where it is printed, and what is to be known of it.
    """

    method: str
    dataset: str
    psnr: float
    source: str
    ssim: float | None = None


@dataclass(frozen=True)
class PapersConfig:
    """The whole comparison.

    Attributes:
        methods: in the order of the tables.
        datasets: columns of the quality tables.
        printed: figures of the papers.
        notes: paragraphs on what must be known to read them.

    Raises:
        ConfigError: no methods, two of one name, or a figure of an unknown method.
    """

    methods: tuple[MethodConfig, ...] = field(default_factory=tuple)
    datasets: tuple[str, ...] = ("rain100l", "rain100h", "rain12", "validation")
    printed: tuple[PrintedConfig, ...] = field(default_factory=tuple)
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"methods must have different names, at least one, got {names}")
        for figure in self.printed:
            if figure.method not in names:
                raise ConfigError(
                    f"printed: method {figure.method!r}: unknown; {nearest(figure.method, names)}"
                )


HEIGHT, WIDTH = 320, 480
"""Size of the pictures of Rain100."""


def timing_picture() -> Image:
    """Return a rainy picture of the shipped reference set, mirrored to 480x320 pixels.

    Returns:
        uint8 (320, 480, 3) RGB.
    """
    reference = read_reference(REFERENCE)
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


GMM_SCORES = BACKGROUND.with_name("scores.json")
GMM_COMMAND = (
    "derain evaluate --method gmm --config configs/quality.yaml --data-root data "
    "--sets validation rain100l rain100h rain12 --json core/papers/gmm/scores.json"
)


@dataclass(frozen=True)
class Known:
    """One method, as far as its files are there.

    Attributes:
        method: its line in the config.
        path: of the file that it runs from.
        missing: what is not there yet, and the command that makes it; empty where all is.
        parameters: number of weights.
        macs_per_pixel: multiply-accumulates per input pixel; None where they depend on the picture.
        cost: what training it took.
        scores: by column, ``DATASET/PROTOCOL``.
        derain: takes and returns uint8 (H, W, 3) RGB; None without the file.
    """

    method: MethodConfig
    path: Path
    missing: str = ""
    parameters: int | None = None
    macs_per_pixel: float | None = None
    cost: TrainingCost | None = None
    scores: dict[str, QualityRow] = field(default_factory=dict)
    derain: Derain | None = None


def know(method: MethodConfig) -> Known:
    """Gather what is known of a method.

    Raises:
        CheckpointError, CardError: a file that is torn, or a card of another file.
        DataError: scores of GMM that are none.
    """
    return _gmm(method) if method.method else _network(method)


def _network(method: MethodConfig) -> Known:
    path = SHIPPED / f"{method.checkpoint}.safetensors"
    if not path.exists():
        return Known(method, path, missing=f"not trained yet ({path.name})")
    checkpoint, card = load_checkpoint(path), card_of(path)
    command = card_command(f"core/checkpoints/{path.name}")
    return Known(
        method,
        path,
        missing="" if card else f"no card; make it: {command}",
        parameters=card.parameters if card else None,
        macs_per_pixel=card.macs_per_pixel if card else None,
        cost=checkpoint.cost,
        scores=by_column(card.quality) if card else {},
        derain=derainer_of(checkpoint),
    )


def _gmm(method: MethodConfig) -> Known:
    background = load_background()
    scored = GMM_SCORES.exists()
    return Known(
        method,
        BACKGROUND,
        missing="" if scored else f"not scored yet; run: {GMM_COMMAND}",
        parameters=background.parameters,
        scores=by_column(_rows(GMM_SCORES)) if scored else {},
        derain=gmm_derainer(background),
    )


def _rows(path: Path) -> tuple[QualityRow, ...]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no scores ({error}); run: {GMM_COMMAND}") from error
    rows: tuple[QualityRow, ...] = from_plain(tuple[QualityRow, ...], values, str(path))
    return rows
