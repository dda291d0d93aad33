"""What is known of each method: its scores, what it costs, and how to run it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from core.checkpoint import SHIPPED, TrainingCost, load_checkpoint
from core.errors import DataError
from core.evaluation.evaluate import Derain
from core.evaluation.table import by_column, card_command, card_of
from core.inference import derainer_of
from core.papers.config import MethodConfig
from core.papers.gmm.derain import gmm_derainer
from core.papers.gmm.files import SHIPPED as BACKGROUND
from core.papers.gmm.files import load_background
from edge_runtime.models.card import QualityRow
from edge_runtime.records import from_plain

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
    known = Known(method, path, cost=checkpoint.cost, derain=derainer_of(checkpoint))
    if card is None:
        missing = f"no card; make it: {card_command(f'core/checkpoints/{path.name}')}"
        return Known(**{**vars(known), "missing": missing})
    return Known(
        **{
            **vars(known),
            "parameters": card.parameters,
            "macs_per_pixel": card.macs_per_pixel,
            "scores": by_column(card.quality),
        }
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
