"""Write the card of a checkpoint, and of an artifact from the checkpoint that it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast

from compress.cost import measure_cost
from core.checkpoint import Checkpoint
from core.config import to_plain
from edge_runtime import __version__
from edge_runtime.card import ModelCard, QualityRow, card_path, write_card
from edge_runtime.errors import CardError

GLOBAL_HALO = 64
"""Overlap in pixels of tiles where no overlap is exact, because the network pools globally."""


def make_card(
    checkpoint: Checkpoint,
    format: Literal["onnx", "safetensors"],
    quality: Sequence[QualityRow] = (),
) -> ModelCard:
    """Describe the artifact that ``checkpoint`` becomes, or itself, without size and hash.

    Args:
        checkpoint: where the artifact comes from.
        format: engine format of the artifact; ``safetensors`` is the checkpoint itself.
        quality: scores measured on what the card describes.

    Raises:
        CardError: the name of the checkpoint cannot be that of an artifact.
    """
    size_multiple = checkpoint.config.size_multiple
    cost = measure_cost(checkpoint.unquantized().build(), size_multiple)
    precision = checkpoint.precision
    made_with = {"torch": version("torch"), format: version(format), "edge-derain": __version__}
    exported = () if format == "safetensors" else (f"export: {format} {precision}",)
    return ModelCard(
        name=checkpoint.name,
        role=cast(Literal["student", "teacher"], checkpoint.role),  # the card checks it
        architecture=checkpoint.architecture,
        config=to_plain(checkpoint.config),
        format=format,
        precision=precision,
        layout="NCHW",
        size_multiple=size_multiple,
        halo=GLOBAL_HALO if cost.halo is None else cost.halo,
        tiling_exact=cost.halo is not None,
        parameters=cost.parameters,
        macs_per_pixel=cost.macs_per_pixel,
        quality=tuple(quality),
        recipe=(*checkpoint.recipe, *exported),
        data=checkpoint.data,
        versions={**checkpoint.versions, **made_with},
        licence=_licence(checkpoint.data),
    )


def card_checkpoint(
    path: Path,
    checkpoint: Checkpoint,
    quality: Sequence[QualityRow] | None = None,
    out: Path | None = None,
) -> ModelCard:
    """Write the card of a checkpoint and return it.

    Args:
        path: of the checkpoint file.
        checkpoint: what is in it.
        quality: scores of it; None keeps those of an older card, if that is of this very file.
        out: where to write; None is beside the checkpoint. What was there is replaced.

    Raises:
        CardError: an older card that cannot be read, a name that no artifact can have, or a
            folder that cannot be written to.
    """
    target = out or card_path(path)
    if quality is None:
        quality = _kept_quality(path, target)
    return write_card(path, make_card(checkpoint, "safetensors", quality), target)


def _kept_quality(checkpoint: Path, card: Path) -> tuple[QualityRow, ...]:
    """Read the scores in ``card``; none where it is missing or of another file."""
    try:
        old = ModelCard.from_json(card.read_text(encoding="utf-8"), card)
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{card}: the card that it replaces cannot be read ({error})") from error
    except CardError as error:
        raise CardError(f"{error}; or remove it, or score again with --quality-config") from error
    return old.quality if old.sha256 == digest else ()


def _licence(data: Sequence[str]) -> str:
    named = f"research data ({', '.join(data)})" if data else "data that the checkpoint leaves out"
    return f"Code Apache-2.0. Weights trained on {named}: non-commercial research use."
