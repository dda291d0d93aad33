"""The whole way from checkpoint to verified artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.checkpoint import Checkpoint
from core.evaluate import Derain
from core.inference import derainer_of
from edge_runtime.card import ModelCard, QualityRow
from edge_runtime.derainer import Derainer
from export.artifact import move_artifact, staging_folder, write_artifact
from export.cards import make_card
from export.errors import ExportError
from export.precision import Precision, at_precision
from export.to_onnx import to_onnx
from export.verify import Check, require_quality, verify

Score = Callable[[Derain], tuple[QualityRow, ...]]


@dataclass(frozen=True)
class Built:
    """An artifact that has been run: where it is, its card, and what the runs showed."""

    artifact: Path
    card: ModelCard
    checks: list[Check]


def build_onnx(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    precision: Precision | None = None,
    name: str = "",
    quality: Score | None = None,
) -> Built:
    """Export to ``folder/NAME_PRECISION.onnx`` with its card, once it is proven equal to torch.

    Args:
        checkpoint: what to export.
        folder: made if it is missing. An artifact of the same name is replaced at the very end.
        precision: of the artifact; None takes the checkpoint's own.
        name: what the model is called; empty takes the checkpoint's name.
        quality: scores the artifact for its card, such as ``core.evaluate.evaluate``.

    Raises:
        ParityError: the artifact differs from torch, or an int8 one scores less.
        ExportError: ONNX cannot hold the network, the folder cannot be written to, or the
            checkpoint has no scales for int8.
        CardError: the name is not that of a file.
        DataError: a data set of ``quality`` cannot be read.
    """
    checkpoint = at_precision(checkpoint, precision or checkpoint.precision)
    checkpoint = dataclasses.replace(checkpoint, name=name or checkpoint.name)
    card = make_card(checkpoint, "onnx")
    model = to_onnx(checkpoint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be made ({error.strerror})") from error
    artifact = folder / f"{checkpoint.name}_{checkpoint.precision}.onnx"
    with staging_folder(folder) as staging:
        staged = staging / artifact.name
        card = write_artifact(model, card, staged)
        checks = verify(staged, checkpoint)
        if quality is not None:
            scored = dataclasses.replace(card, quality=quality(Derainer.load(staged)))
            if checkpoint.precision == "int8":
                require_quality(artifact, scored.quality, quality(derainer_of(checkpoint)))
            card = write_artifact(model, scored, staged)
            checks = verify(staged, checkpoint)
        move_artifact(staged, artifact)
    return Built(artifact, card, checks)
