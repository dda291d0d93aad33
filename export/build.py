"""The whole way from checkpoint to verified artifact."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compress.against_teacher import Score
from core.checkpoint import Checkpoint
from core.inference import derainer_of
from edge_runtime.derainer import Derainer
from edge_runtime.models.card import ModelCard, write_card
from edge_runtime.report.golden import make_golden
from export.artifact import Model, move_artifact, staging_folder, write_artifact
from export.artifact_card import make_card
from export.errors import ExportError
from export.graph import Io, Precision, at_precision
from export.to_onnx import step_to_onnx, to_onnx
from export.verify import Check, require_quality, verify

_STEP_IO = "io {}: one stage hands on float32 states; leave io at float32"


@dataclass(frozen=True)
class Built:
    """An artifact that has been run: where it is, its card, and what the runs showed."""

    artifact: Path
    card: ModelCard
    checks: list[Check]


def export(
    checkpoint: Checkpoint,
    folder: str | Path,
    format: Literal["onnx", "tflite"] = "onnx",
    *,
    precision: Precision | None = None,
    io: Io = "float32",
    name: str = "",
    quality: Score | None = None,
    step: bool = False,
    size: tuple[int, int] | None = None,
    force: bool = False,
) -> Built:
    """Export a checkpoint to an artifact with its card, once it is proven equal to torch.

    Args:
        checkpoint: what to export, as :func:`core.checkpoint.load_checkpoint` reads it.
        folder: where to; made if it is missing.
        format: of the artifact.
        precision: as :func:`build_onnx` and :func:`build_tflite` take it, and all that follow.

    Raises:
        ExportError, CardError, DataError, MissingExtraError: as these.
    """
    given: dict[str, Any] = {"precision": precision, "name": name, "quality": quality}
    given |= {"step": step, "size": size, "force": force}
    build = build_tflite if format == "tflite" else build_onnx
    return build(checkpoint, Path(folder), io=io, **given)


def build_onnx(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    precision: Precision | None = None,
    io: Io = "float32",
    name: str = "",
    quality: Score | None = None,
    step: bool = False,
    size: tuple[int, int] | None = None,
    force: bool = False,
) -> Built:
    """Export to ``folder/NAME_PRECISION.onnx`` with its card, once it is proven equal to torch.

    Args:
        checkpoint: what to export.
        folder: made if it is missing.
        precision: of the artifact; None takes the checkpoint's own.
        io: type of the pictures that it takes and returns; uint8 needs precision int8.
        name: what the model is called; empty takes the checkpoint's name.
        quality: scores the artifact for its card; see :mod:`compress.against_teacher`.
        step: export one stage of a recurrent network, as ``NAME_step``; the device repeats it.
        size: the one (height, width) that a static graph takes, as ``NAME_HEIGHTxWIDTH``; None
            leaves it open.
        force: replace an artifact of the same name, at the very end.

    Raises:
        ParityError: the artifact differs from torch, or an int8 one scores less.
        ExportError: ONNX cannot hold the network, the folder cannot be written to, an artifact is
            there already, or the checkpoint has no scales for int8.
        CardError: the name is not that of a file.
        DataError: a data set of ``quality`` cannot be read.
    """
    if precision == "dynamic":
        raise ExportError("ONNX has no precision dynamic; use fp32, fp16 or int8, or TFLite")
    checkpoint = at_precision(checkpoint, precision or checkpoint.precision)
    checkpoint = _named(checkpoint, name, step, size)
    if step and io != "float32":
        raise ExportError(_STEP_IO.format(io))
    model = step_to_onnx(checkpoint) if step else to_onnx(checkpoint, io, size)
    card = make_card(checkpoint, "onnx", io=io, step=step)
    return _prove(model, card, checkpoint, folder, quality, force)


def build_tflite(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    precision: Precision | None = None,
    io: Io = "float32",
    name: str = "",
    quality: Score | None = None,
    step: bool = False,
    size: tuple[int, int] | None = None,
    force: bool = False,
) -> Built:
    """Export to ``folder/NAME_PRECISION.tflite`` with its card, once it is proven equal to torch.

    Args:
        checkpoint: what to export.
        folder: made if it is missing.
        precision: of the artifact; None takes the checkpoint's own.
        io: type of the pictures that it takes and returns; int8 needs that precision.
        name: what the model is called; empty takes the checkpoint's name.
        quality: scores the artifact for its card; see :mod:`compress.against_teacher`.
        step: export one stage of a recurrent network, as ``NAME_step``; the device repeats it.
        size: the one (height, width) that a static graph takes, as ``NAME_HEIGHTxWIDTH``; None
            leaves it open.
        force: replace an artifact of the same name, at the very end.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
        ParityError: the artifact differs from torch, or one with int8 weights scores less.
        ExportError: TFLite cannot hold the network, the folder cannot be written to, an artifact is
            there already, or the checkpoint has no scales for int8.
        CardError: the name is not that of a file.
        DataError: a data set of ``quality`` cannot be read.
    """
    from export.to_tflite import step_to_tflite, to_tflite

    precision = precision or checkpoint.precision
    checkpoint = _named(checkpoint, name, step, size)
    if step and io != "float32":
        raise ExportError(_STEP_IO.format(io))
    if step:
        model = step_to_tflite(checkpoint, precision)
    else:
        model = to_tflite(checkpoint, precision, io, size)
    card = make_card(checkpoint, "tflite", precision=precision, io=io, step=step)
    return _prove(model, card, at_precision(checkpoint, precision), folder, quality, force)


def _named(
    checkpoint: Checkpoint, name: str, step: bool, size: tuple[int, int] | None
) -> Checkpoint:
    """Return the checkpoint under the name of its artifact."""
    suffix = "_step" if step else ""
    if size is not None:
        if step:
            raise ExportError("one stage takes any size; leave size out")
        multiple = checkpoint.config.size_multiple
        if any(side % multiple or side < 1 for side in size):
            legal = "x".join(str(max(1, -(-side // multiple)) * multiple) for side in size)
            raise ExportError(
                f"size {size[0]}x{size[1]}: {checkpoint.name} needs height and width to be "
                f"multiples of {multiple}; take {legal}"
            )
        suffix = f"_{size[0]}x{size[1]}"
    return dataclasses.replace(checkpoint, name=f"{name or checkpoint.name}{suffix}")


def _prove(
    model: Model,
    card: ModelCard,
    checkpoint: Checkpoint,
    folder: Path,
    quality: Score | None,
    force: bool,
) -> Built:
    """Run and score ``model`` out of sight, and move it into ``folder`` if nothing is wrong."""
    artifact = folder / f"{card.name}_{card.precision}.{card.format}"
    if not force and os.path.lexists(artifact):
        raise ExportError(f"{artifact}: exists already; add --force to replace it, or name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be made ({error.strerror})") from error
    with staging_folder(folder) as staging:
        staged = staging / artifact.name
        card = write_artifact(model, card, staged)
        card = dataclasses.replace(card, golden=make_golden(Derainer.load(staged, threshold=None)))
        card = write_card(staged, card)
        checks = verify(staged, checkpoint)
        if quality is not None:
            scores = quality(Derainer.load(staged, threshold=None), checkpoint.recipe)
            if card.precision in ("int8", "dynamic"):
                exact = quality(derainer_of(checkpoint), checkpoint.recipe)
                require_quality(artifact, scores.quality, exact.quality)
            card = write_card(staged, dataclasses.replace(card, **scores._asdict()))
        move_artifact(staged, artifact)
    return Built(artifact, card, checks)
