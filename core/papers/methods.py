"""Methods of the comparison: which they are, their scores, what they cost and how to run them."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from core.checkpoint import TrainingCost, find_checkpoint, load_checkpoint
from core.evaluation.evaluate import Derain
from core.evaluation.table import by_column, card_command, card_of
from core.inference import derainer_of
from core.pairs import Image
from core.papers.gmm.derain import gmm_derainer
from core.papers.gmm.mixture import SHIPPED as BACKGROUND
from core.papers.gmm.mixture import load_background
from edge_runtime.errors import CardError
from edge_runtime.models.card import QualityRow
from edge_runtime.models.records import from_plain
from edge_runtime.report.reference import SHIPPED as REFERENCE
from edge_runtime.report.reference import read_reference

CONFIG = Path(__file__).parents[2] / "configs" / "papers" / "comparison.yaml"
"""Like the checkpoints that it names, part of a checkout and not of a built package."""


@dataclass(frozen=True)
class MethodConfig:
    """One line of the comparison.

    Attributes:
        name: what the tables call it.
        paper: where it comes from.
        checkpoint: shipped name or path; empty for GMM, which is no network.
        strip: show what it makes of a picture.
    """

    name: str
    paper: str
    checkpoint: str = ""
    strip: bool = False


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
    """

    methods: tuple[MethodConfig, ...]
    datasets: tuple[str, ...] = ("rain100l", "rain100h", "rain12", "validation")
    printed: tuple[PrintedConfig, ...] = ()
    notes: tuple[str, ...] = ()


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
    from threadpoolctl import threadpool_limits

    taken = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            derain(rainy)
            for _ in range(repeats):
                start = time.process_time()
                derain(rainy)
                taken.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken)


@dataclass(frozen=True)
class Known:
    """One method, with all that its files say of it.

    Attributes:
        method: its line in the config.
        path: of the file that it runs from.
        derain: takes and returns uint8 (H, W, 3) RGB.
        scores: by column, ``DATASET/PROTOCOL``.
        parameters: number of weights.
        macs_per_pixel: multiply-accumulates per input pixel; None where they depend on the picture.
        cost: what training it took, where that is known.
    """

    method: MethodConfig
    path: Path
    derain: Derain
    scores: dict[str, QualityRow] = field(default_factory=dict)
    parameters: int | None = None
    macs_per_pixel: float | None = None
    cost: TrainingCost | None = None


def know(method: MethodConfig) -> Known:
    """Gather what is known of a method.

    The scores of GMM are what ``derain evaluate --method gmm --json`` wrote beside its background.

    Raises:
        CheckpointError: a checkpoint that is missing or torn.
        CardError: it has no card, with the command that makes one, or that of another file.
    """
    if not method.checkpoint:
        background, scores = load_background(), BACKGROUND.with_name("scores.json")
        values = json.loads(scores.read_text(encoding="utf-8"))
        rows: tuple[QualityRow, ...] = from_plain(tuple[QualityRow, ...], values, str(scores))
        return Known(
            method, BACKGROUND, gmm_derainer(background), by_column(rows), background.parameters
        )
    path = find_checkpoint(method.checkpoint)
    checkpoint, card = load_checkpoint(path), card_of(path)
    if card is None:
        raise CardError(f"{path}: no card; make it: {card_command(path)}")
    return Known(
        method,
        path,
        derainer_of(checkpoint),
        by_column(card.quality),
        card.parameters,
        card.macs_per_pixel,
        checkpoint.cost,
    )
