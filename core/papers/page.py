"""The comparison as a page of Markdown, and the command that writes it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.config import load_config
from core.evaluation.files import check_text_target, write_text
from core.evaluation.table import ABSENT, INPUT, inputs, number
from core.papers.methods import (
    CONFIG,
    HEIGHT,
    WIDTH,
    Known,
    PapersConfig,
    know,
    seconds,
    timing_picture,
)
from core.papers.strip import read_pair, strip
from core.progress import track
from edge_runtime.machine import machine
from edge_runtime.metrics import Protocol
from edge_runtime.models.card import QualityRow
from edge_runtime.pictures.picture import Picture, check_suffix, write_picture
from edge_runtime.terminal import markdown_table

_PROTOCOL_NAMES: dict[Protocol, str] = {"y": "luma (`y`)", "rgb": "all channels (`rgb`)"}


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
