"""The comparison of the papers' methods as a page of Markdown, and the command that writes it."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from core.checkpoint import TrainingCost, find_checkpoint, load_checkpoint
from core.config import load_config
from core.evaluation.evaluate import Derain
from core.evaluation.files import check_text_target, write_text
from core.evaluation.table import ABSENT, INPUT, by_column, card_command, card_of, inputs, number
from core.inference import derainer_of
from core.pairs import Image
from core.papers.gmm.derain import gmm_derainer
from core.papers.gmm.mixture import SHIPPED as BACKGROUND
from core.papers.gmm.mixture import load_background
from core.papers.strip import read_pair, strip
from core.progress import track
from edge_runtime.errors import CardError
from edge_runtime.machine import machine
from edge_runtime.metrics import Protocol
from edge_runtime.models.card import QualityRow
from edge_runtime.models.records import from_plain
from edge_runtime.pictures.picture import Picture, check_suffix, write_picture
from edge_runtime.report.reference import SHIPPED as REFERENCE
from edge_runtime.report.reference import read_reference
from edge_runtime.terminal import markdown_table

_PROTOCOL_NAMES: dict[Protocol, str] = {"y": "luma (`y`)", "rgb": "all channels (`rgb`)"}
CONFIG = "configs/papers/comparison.yaml"
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
    """Return a rainy picture of the shipped reference set, mirrored to uint8 (320, 480, 3) RGB."""
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


def command(arguments: Sequence[str]) -> int:
    """Run ``derain table papers`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain table papers",
        description="Compare the methods of the papers with ours: quality, cost, what is printed.",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML (default: configs/papers/comparison.yaml)"
    )
    parser.add_argument("-o", dest="out", metavar="FILE", help="Markdown to write (default: print)")
    parser.add_argument("--strip", metavar="FILE", help="write a strip of pictures as PNG as well")
    parser.add_argument(
        "--picture",
        metavar="DATASET/NAME",
        default="heavy/rocket",
        help="of the shipped reference set, for --strip (default: heavy/rocket)",
    )
    options = parser.parse_args(arguments)

    config = load_config(PapersConfig, options.config or CONFIG)
    for option, name in (("-o", options.out), ("--strip", options.strip)):
        if name:
            check_text_target(option, Path(name))
    if options.strip:
        check_suffix(Path(options.strip))
    pair = read_pair(options.picture) if options.strip else None
    known = [know(method) for method in config.methods]
    taken, derained, rainy = {}, {}, timing_picture()
    for each in track(known, "methods"):
        taken[each.method.name] = seconds(each.derain, rainy)
        if pair and each.method.strip:
            derained[each.method.name] = each.derain(pair[0])
    address = None
    if options.strip:
        address = Path(os.path.relpath(options.strip, Path(options.out or ".").parent)).as_posix()
    text = page(config, known, taken, machine().cpu, address)
    if pair:
        write_picture(options.strip, Picture(strip(*pair, derained)))
    if options.out:
        write_text("-o", Path(options.out), text)
    else:
        print(text, end="")
    return 0


def page(
    config: PapersConfig,
    known: Sequence[Known],
    seconds: Mapping[str, float],
    machine: str,
    strip: str | None = None,
) -> str:
    """Write the page.

    Args:
        config: datasets, printed figures and notes.
        known: the methods, in the order of the tables.
        seconds: for one picture of 480x320 pixels on one thread, by name of the method.
        machine: where those were measured.
        strip: address of the strip of pictures, as seen from the page.

    Raises:
        DataError: methods that were scored on different pictures.
    """
    parts = [
        "# The papers' methods beside ours",
        "PSNR in dB / SSIM on rounded 8-bit pictures, all scored by the same code. A dash stands "
        "for what is not known; nothing is filled in from elsewhere.",
    ]
    for protocol in ("y", "rgb"):
        parts += [f"## On {_PROTOCOL_NAMES[protocol]}", _quality(config, known, protocol)]
    parts += [
        "## What they cost",
        _costs(known, seconds),
        f"Seconds: processor time for a picture of {WIDTH}x{HEIGHT} pixels on one thread of "
        f"{machine}, PyTorch and NumPy, median of three after one warm-up. The multiplications of "
        "GMM depend on the picture. Steps and hours are those of training, in PyTorch; hours are "
        "not known of networks that went on from others.",
        "## What the papers print",
        _printed(config),
        *config.notes,
    ]
    if strip:
        parts += ["## One picture", f"![The same rainy picture derained by each method]({strip})"]
    parts.append("Made by `derain table papers`.")
    return "\n\n".join(parts) + "\n"


def _quality(config: PapersConfig, known: Sequence[Known], protocol: Protocol) -> str:
    columns = [f"{dataset}/{protocol}" for dataset in config.datasets]
    given = inputs({each.path: each.scores for each in known}, columns)
    rows = [[INPUT, ABSENT, *(_both(given.get(c), "input_psnr", "input_ssim") for c in columns)]]
    for each in known:
        cells = (_both(each.scores.get(column), "psnr", "ssim") for column in columns)
        rows.append([each.method.name, each.method.paper, *cells])
    return markdown_table(["method", "from", *config.datasets], rows, texts=(0, 1), padded=False)


def _costs(known: Sequence[Known], seconds: Mapping[str, float]) -> str:
    head = ("method", "parameters", "kMAC per pixel", "seconds", "steps", "hours", "hardware")
    rows = [
        (
            each.method.name,
            number(each.parameters, ",d"),
            number(each.macs_per_pixel, ",.1f", 1000),
            number(seconds.get(each.method.name), ".2f"),
            number(each.cost.steps if each.cost else None, ",d"),
            number(each.cost.hours if each.cost else None, ".1f"),
            each.cost.hardware if each.cost else ABSENT,
        )
        for each in known
    ]
    return markdown_table(head, rows, texts=(0, 6), padded=False)


def _printed(config: PapersConfig) -> str:
    rows = []
    for figure in config.printed:
        value = f"{figure.psnr:g}" if figure.ssim is None else f"{figure.psnr:.2f} / {figure.ssim}"
        rows.append((figure.method, figure.dataset, value, figure.source))
    return markdown_table(
        ("method", "data set", "PSNR / SSIM", "printed in"), rows, texts=(0, 1, 3), padded=False
    )


def _both(row: QualityRow | None, psnr: str, ssim: str) -> str:
    return f"{getattr(row, psnr):.2f} / {getattr(row, ssim):.4f}" if row else ABSENT
