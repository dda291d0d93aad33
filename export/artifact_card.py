"""Cards of checkpoints, and of artifacts from the checkpoint that they are made of."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from compress.against_teacher import Scores
from compress.checkpoint_card import checkpoint_card
from core.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from edge_runtime import __version__
from edge_runtime.errors import CardError
from edge_runtime.models.card import ModelCard, QualityRow, card_path, load_card, write_card
from export.graph import Io, Precision, describe_step


def make_card(
    checkpoint: Checkpoint,
    format: Literal["onnx", "tflite"],
    quality: Sequence[QualityRow] = (),
    *,
    precision: Precision | None = None,
    io: Io = "float32",
    step: bool = False,
) -> ModelCard:
    """Describe the artifact that ``checkpoint`` becomes, without size and hash.

    Args:
        checkpoint: where the artifact comes from.
        format: engine format of the artifact.
        quality: scores measured on what the card describes.
        precision: of the artifact; None takes the checkpoint's.
        io: type of the artifact's pictures.
        step: the artifact is one stage of the network; costs and halo are those of all stages.

    Raises:
        CardError: the name of the checkpoint cannot be that of an artifact.
    """
    card = checkpoint_card(checkpoint, quality)
    precision = precision or checkpoint.precision
    written_by = "ai-edge-litert" if format == "tflite" else format
    made_with = {name: version(name) for name in ("torch", written_by)}
    one_stage = ", one stage" if step else ""
    return dataclasses.replace(
        card,
        format=format,
        precision=precision,
        io=io,
        layout="NHWC" if format == "tflite" or io == "uint8" else "NCHW",
        # Dynamic range: codes of activations span what is in the picture, or in the tile.
        tiling_exact=card.tiling_exact and precision != "dynamic",
        recipe=(*checkpoint.recipe, f"export: {format} {precision}{one_stage}"),
        versions={**checkpoint.versions, **made_with, "edge-derain": __version__},
        step=describe_step(checkpoint) if step else None,
    )


def load_described(name_or_path: str | Path) -> Checkpoint:
    """Read a checkpoint to export, and its card where it has one, which must be that of this file.

    Raises:
        CheckpointError: as :func:`core.checkpoint.load_checkpoint`.
        CardError: a card that is malformed or of other weights.
    """
    path = find_checkpoint(name_or_path)
    checkpoint = load_checkpoint(path)
    if card_path(path).exists():
        try:
            load_card(path)
        except CardError as error:
            raise CardError(f"{error}; or write it again with derain-export card {path}") from None
    return checkpoint


def card_checkpoint(
    path: Path,
    checkpoint: Checkpoint,
    scores: Scores | None = None,
    out: Path | None = None,
) -> ModelCard:
    """Write the card of a checkpoint and return it.

    Args:
        path: of the checkpoint file.
        checkpoint: what is in it.
        scores: of it; None keeps those of an older card, if that is of this very file.
        out: where to write; None is beside the checkpoint. What was there is replaced.

    Raises:
        CardError: an older card that cannot be read, a name that no artifact can have, or a
            folder that cannot be written to.
    """
    target = out or card_path(path)
    if scores is None:
        scores = _kept_scores(path, target)
    return write_card(path, checkpoint_card(checkpoint, *scores), target)


def _kept_scores(checkpoint: Path, card: Path) -> Scores:
    """Read the scores in ``card``; none where it is missing or of another file."""
    try:
        old = ModelCard.from_json(card.read_text(encoding="utf-8"), card)
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    except FileNotFoundError:
        return Scores()
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{card}: the card that it replaces cannot be read ({error})") from error
    except CardError as error:
        raise CardError(f"{error}; or remove it, or score again with --quality-config") from error
    return Scores(old.quality, old.teacher) if old.sha256 == digest else Scores()
