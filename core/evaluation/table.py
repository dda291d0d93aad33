"""Checkpoints side by side: what they cost, what training them took, and what they reach."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from core.checkpoint import find_checkpoint, load_checkpoint
from core.config import nearest
from core.errors import DataError
from edge_runtime.errors import CardError, UsageError
from edge_runtime.models.card import ModelCard, QualityRow, card_path, load_card
from edge_runtime.terminal import markdown_table

DEFAULT_COLUMNS = (
    "validation/rgb",
    "validation/y",
    "dry/rgb",
    "light/rgb",
    "heavy/rgb",
    "veil/rgb",
    "rain100l/y",
    "rain100h/y",
    "rain12/y",
)
INPUT = "input (no deraining)"
_STATE = "state.safetensors"  # what a training run keeps beside its checkpoints, to be resumed
_SAME_DB = 0.005
_MIB = 2**20
ABSENT = "–"
"""What a table says where nothing is known."""


def find_checkpoints(places: Iterable[str]) -> list[Path]:
    """List the checkpoints that paths, shipped names and folders stand for, each once.

    Raises:
        CheckpointError: an unknown name.
        UsageError: a folder without checkpoints.
    """
    found: dict[Path, None] = {}
    for place in places:
        if Path(place).is_dir():
            inside = sorted(p for p in Path(place).glob("[!.]*.safetensors") if p.name != _STATE)
            if not inside:
                raise UsageError(f"{place}: no checkpoints (*.safetensors) in this folder")
            found.update(dict.fromkeys(inside))
        else:
            found[find_checkpoint(place)] = None
    return list(found)


def checkpoint_table(paths: Sequence[Path], columns: Sequence[str] | None = None) -> str:
    """Lay out what checkpoints cost and reach, from their cards, as a Markdown table.

    The first row is the input, without deraining. What is not known is :data:`ABSENT`.

    Args:
        paths: of the checkpoints.
        columns: ``DATASET/PROTOCOL``, in order, of which the PSNR in dB is shown; None is
            :data:`DEFAULT_COLUMNS`, as far as there is a card that has them.

    Raises:
        CheckpointError: a file that is missing, torn or no checkpoint.
        CardError: a card that is malformed or of another file; with the command that makes it.
        UsageError: a column that no card has.
        DataError: checkpoints that were scored on different pictures.
    """
    cards = {path: card_of(path) for path in paths}
    scored = {path: by_column(card.quality) for path, card in cards.items() if card}
    measured = list(dict.fromkeys(column for scores in scored.values() for column in scores))
    if columns is None:
        columns = [column for column in DEFAULT_COLUMNS if column in measured]
    for column in columns:
        if measured and column not in measured:
            raise UsageError(f"column {column!r}: in no card; {nearest(column, measured)}")
    given = inputs(scored, columns)
    before = (number(row.input_psnr if row else None, ".2f") for row in map(given.get, columns))
    rows = [(INPUT, *[ABSENT] * 7, *before)]
    for path, card in cards.items():
        checkpoint, scores = load_checkpoint(path), scored.get(path, {})
        cost = checkpoint.cost
        rows.append(
            (
                checkpoint.name,
                checkpoint.architecture,
                number(card.parameters if card else None, ",d"),
                number(card.macs_per_pixel if card else None, ",.1f", 1000),
                number(path.stat().st_size, ".2f", _MIB),
                number(cost.steps if cost else None, ",d"),
                number(cost.hours if cost else None, ".1f"),
                cost.hardware if cost else ABSENT,
                *(number(row.psnr if row else None, ".2f") for row in map(scores.get, columns)),
            )
        )
    costs = ("network", "architecture", "parameters", "kMAC per pixel", "MiB", "steps", "hours")
    head = (*costs, "hardware", *(column.replace("/", " ") for column in columns))
    return markdown_table(head, rows, texts=(0, 1, 7), padded=False)


def quality_table(rows: Sequence[QualityRow]) -> str:
    """Lay out the quality of a model as a Markdown table, input beside output."""
    psnr_and_ssim = ("input PSNR", "derained PSNR", "input SSIM", "derained SSIM")
    lines = [
        (
            *(row.dataset, str(row.images), row.protocol),
            *(f"{value:.2f}" for value in (row.input_psnr, row.psnr)),
            *(f"{value:.4f}" for value in (row.input_ssim, row.ssim)),
        )
        for row in rows
    ]
    head = ("data set", "pictures", "protocol", *psnr_and_ssim)
    return markdown_table(head, lines, texts=(0, 2), padded=False)


def card_command(path: str | Path) -> str:
    """Return the command that writes the card of a checkpoint, with its scores."""
    return f"derain-export card {path} --quality-config configs/quality.yaml --data-root data"


def card_of(path: Path) -> ModelCard | None:
    """Read the card beside a checkpoint, None where there is none.

    Raises:
        CardError: it is malformed or another file's; with the command that makes it.
    """
    if not card_path(path).exists():
        return None
    try:
        return load_card(path)
    except CardError as error:
        raise CardError(f"{error}; or make it again with: {card_command(path)}") from error


def by_column(quality: Iterable[QualityRow]) -> dict[str, QualityRow]:
    """Return rows by their column, ``DATASET/PROTOCOL``."""
    return {f"{row.dataset}/{row.protocol}": row for row in quality}


def inputs(
    scored: Mapping[Path, Mapping[str, QualityRow]], columns: Sequence[str]
) -> dict[str, QualityRow]:
    """Take, of each column, the first row that has it; the input of the others must be the same.

    Args:
        scored: by file, its rows by column, as :func:`by_column` makes them.
        columns: ``DATASET/PROTOCOL``; one that no file has is left out.

    Raises:
        DataError: files that were scored on different pictures.
    """
    found: dict[str, QualityRow] = {}
    for column in columns:
        first: tuple[Path, QualityRow] | None = None
        for path, scores in scored.items():
            row = scores.get(column)
            if row is None:
                continue
            first = first or (path, row)
            same = math.isclose(row.input_psnr, first[1].input_psnr, abs_tol=_SAME_DB)
            if row.images != first[1].images or not same:
                one, two = (
                    f"{each.images} pictures with an input of {each.input_psnr:.2f} dB"
                    for each in (first[1], row)
                )
                raise DataError(
                    f"{column}: {first[0]} was scored on {one}, but {path} on {two}; "
                    "score both on the same data"
                )
            found[column] = first[1]
    return found


def number(value: float | None, form: str, unit: int = 1) -> str:
    """Write a number in ``unit``s as the format ``form`` says, :data:`ABSENT` for None."""
    if value is None:
        return ABSENT
    return format(value if unit == 1 else value / unit, form)


def command(arguments: Sequence[str]) -> int:
    """Run ``derain table`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain table",
        description="Compare checkpoints: cost, training and PSNR, from their cards, as Markdown. "
        "`derain table papers` compares the methods of the papers (--help says more).",
    )
    parser.add_argument(
        "places", nargs="+", metavar="CKPT", help="checkpoint: shipped name, path, or a folder"
    )
    parser.add_argument(
        "--columns", nargs="+", metavar="SET/PROTOCOL", help="such as validation/rgb rain100h/y"
    )
    options = parser.parse_args(arguments)

    paths = find_checkpoints(options.places)
    print(checkpoint_table(paths, options.columns))
    for path in paths:
        if not card_path(path).exists():
            print(f"derain: {path}: no card; make it: {card_command(path)}", file=sys.stderr)
    return 0
