"""Write the card of an artifact from the checkpoint that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Literal, cast

from compress.cost import measure_cost
from core.checkpoint import Checkpoint
from core.config import to_plain
from edge_runtime import __version__
from edge_runtime.card import ModelCard, QualityRow

GLOBAL_HALO = 64
"""Overlap in pixels of tiles where no overlap is exact, because the network pools globally."""


def make_card(
    checkpoint: Checkpoint,
    format: Literal["onnx"],
    precision: Literal["fp32"],
    quality: Sequence[QualityRow] = (),
) -> ModelCard:
    """Describe the artifact that ``checkpoint`` becomes, without its size and hash.

    Args:
        checkpoint: where the artifact comes from.
        format: engine format of the artifact.
        precision: of its weights and arithmetic.
        quality: scores measured on the artifact itself.

    Raises:
        CardError: the name of the checkpoint cannot be that of an artifact.
    """
    size_multiple = checkpoint.config.size_multiple
    cost = measure_cost(checkpoint.build(), size_multiple)
    made_with = {"torch": version("torch"), "onnx": version("onnx"), "edge-derain": __version__}
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
        recipe=(*checkpoint.recipe, f"export: {format} {precision}"),
        data=checkpoint.data,
        versions={**checkpoint.versions, **made_with},
        licence=_licence(checkpoint.data),
    )


def _licence(data: Sequence[str]) -> str:
    named = f"research data ({', '.join(data)})" if data else "data that the checkpoint leaves out"
    return f"Code Apache-2.0. Weights trained on {named}: non-commercial research use."
