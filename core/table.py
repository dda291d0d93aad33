"""Checkpoints side by side: what they cost, what training them took, and what they reach."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.checkpoint import find_checkpoint, load_checkpoint
from core.config_errors import nearest
from core.errors import DataError
from edge_runtime.card import ModelCard, QualityRow, card_path, load_card
from edge_runtime.errors import CardError, UsageError

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
_HEADINGS = {
    "network": "---",
    "architecture": "---",
    "parameters": "---:",
    "kMAC per pixel": "---:",
    "MiB": "---:",
    "steps": "---:",
    "hours": "---:",
    "hardware": "---",
}
_ABSENT = "–"


@dataclass(frozen=True)
class TableRow:
    """One line of the table; what is not known is None.

    Attributes:
        name: of the model, or :data:`INPUT`.
        path: of the checkpoint.
        architecture: name of the network.
        parameters: number of weights.
        macs_per_pixel: multiply-accumulates per input pixel.
        bytes: size of the checkpoint file.
        steps: optimizer steps of the training, and ``hours`` and ``hardware`` that they took.
        psnr: dB by column, such as ``validation/rgb``; a column that was not measured is missing.
        carded: whether a card lies beside the checkpoint.
    """

    name: str
    path: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    macs_per_pixel: float | None = None
    bytes: int | None = None
    steps: int | None = None
    hours: float | None = None
    hardware: str | None = None
    psnr: dict[str, float] = field(default_factory=dict)
    carded: bool = True

    def to_json(self) -> str:
        """Return the row as one line of JSON, which has no infinity and says null there."""
        psnr = {k: v if math.isfinite(v) else None for k, v in self.psnr.items()}
        return json.dumps({**dataclasses.asdict(self), "psnr": psnr}, allow_nan=False)


@dataclass(frozen=True)
class Table:
    """Checkpoints to compare.

    Attributes:
        columns: ``DATASET/PROTOCOL``, in order.
        rows: the first is the input.
    """

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def find_checkpoints(places: Iterable[str]) -> list[Path]:
    """List the checkpoints that paths, shipped names and folders stand for, each once.

    Raises:
        CheckpointError: an unknown name.
        UsageError: a folder without checkpoints.
    """
    found: dict[Path, None] = {}
    for place in places:
        if Path(place).is_dir():
            inside = sorted(p for p in Path(place).glob("*.safetensors") if p.name != _STATE)
            if not inside:
                raise UsageError(f"{place}: no checkpoints (*.safetensors) in this folder")
            found.update(dict.fromkeys(inside))
        else:
            found[find_checkpoint(place)] = None
    return list(found)


def make_table(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Table:
    """Read checkpoints and their cards: a row for the input, then one for each checkpoint.

    Args:
        paths: of the checkpoints.
        columns: ``DATASET/PROTOCOL``, in order; None is :data:`DEFAULT_COLUMNS`, as far as there
            is a card that has them.

    Raises:
        CheckpointError: a file that is missing, torn or no checkpoint.
        CardError: a card that is malformed or of another file; with the command that makes it.
        UsageError: a column that no card has.
        DataError: checkpoints that were scored on different pictures.
    """
    cards = {path: _card(path) for path in paths}
    scored = {path: _by_column(card.quality) for path, card in cards.items() if card}
    measured = list(dict.fromkeys(column for scores in scored.values() for column in scores))
    if columns is None:
        columns = [column for column in DEFAULT_COLUMNS if column in measured]
    for column in columns:
        if measured and column not in measured:
            raise UsageError(f"column {column!r}: in no card; {nearest(column, measured)}")
    rows = [TableRow(INPUT, psnr=_inputs(scored, columns))]
    for path, card in cards.items():
        checkpoint, scores = load_checkpoint(path), scored.get(path, {})
        cost = checkpoint.cost
        rows.append(
            TableRow(
                name=checkpoint.name,
                path=str(path),
                architecture=checkpoint.architecture,
                parameters=card.parameters if card else None,
                macs_per_pixel=card.macs_per_pixel if card else None,
                bytes=path.stat().st_size,
                steps=cost.steps if cost else None,
                hours=cost.hours if cost else None,
                hardware=cost.hardware if cost else None,
                psnr={column: scores[column].psnr for column in columns if column in scores},
                carded=card is not None,
            )
        )
    return Table(tuple(columns), tuple(rows))


def markdown(table: Table) -> str:
    """Lay out a table as Markdown, with the PSNR in dB of each column."""
    lines = [
        [*_HEADINGS, *(column.replace("/", " ") for column in table.columns)],
        [*_HEADINGS.values(), *("---:" for _ in table.columns)],
    ]
    for row in table.rows:
        lines.append(
            [
                row.name,
                row.architecture or _ABSENT,
                _number(row.parameters, ",d"),
                _number(row.macs_per_pixel, ",.1f", 1000),
                _number(row.bytes, ".2f", _MIB),
                _number(row.steps, ",d"),
                _number(row.hours, ".1f"),
                row.hardware or _ABSENT,
                *(_number(row.psnr.get(column), ".2f") for column in table.columns),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def card_command(path: str | Path) -> str:
    """Return the command that writes the card of a checkpoint, with its scores."""
    return f"derain-export card {path} --quality-config configs/quality.yaml --data-root data"


def _card(path: Path) -> ModelCard | None:
    if not card_path(path).exists():
        return None
    try:
        return load_card(path)
    except CardError as error:
        raise CardError(f"{error}; or make it again with: {card_command(path)}") from error


def _by_column(quality: Iterable[QualityRow]) -> dict[str, QualityRow]:
    return {f"{row.dataset}/{row.protocol}": row for row in quality}


def _inputs(scored: dict[Path, dict[str, QualityRow]], columns: Sequence[str]) -> dict[str, float]:
    """Take the input's PSNR from the first card that has it; the others must say the same."""
    inputs: dict[str, float] = {}
    for column in columns:
        first: tuple[Path, QualityRow] | None = None
        for path, scores in scored.items():
            row = scores.get(column)
            if row is None:
                continue
            first = first or (path, row)
            same = math.isclose(row.input_psnr, first[1].input_psnr, abs_tol=_SAME_DB)
            if row.images != first[1].images or not same:
                raise DataError(
                    f"{column}: {first[0]} was scored on {_said(first[1])}, but {path} on "
                    f"{_said(row)}; score both on the same data"
                )
            inputs[column] = first[1].input_psnr
    return inputs


def _said(row: QualityRow) -> str:
    return f"{row.images} pictures with an input of {row.input_psnr:.2f} dB"


def _number(value: float | None, form: str, unit: int = 1) -> str:
    if value is None:
        return _ABSENT
    return format(value if unit == 1 else value / unit, form)
