"""The card of a checkpoint: what it is, costs and scored, and what it lost against its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Literal, cast

from compress.cost import measure_cost
from core.checkpoint import Checkpoint
from core.config import to_plain
from edge_runtime import __version__
from edge_runtime.card import ModelCard, QualityRow, TeacherLoss

GLOBAL_HALO = 64
"""Overlap in pixels of tiles where no overlap is exact, because the network pools globally."""


def checkpoint_card(
    checkpoint: Checkpoint,
    quality: Sequence[QualityRow] = (),
    teacher: TeacherLoss | None = None,
) -> ModelCard:
    """Describe a checkpoint, without the size and hash of its file.

    Args:
        checkpoint: what to describe.
        quality: scores measured with it.
        teacher: what it gave up against its teacher.

    Raises:
        CardError: the name of the checkpoint cannot be that of an artifact.
    """
    cost = measure_cost(checkpoint.unquantized().build(), checkpoint.config.size_multiple)
    made_with = {name: version(name) for name in ("torch", "safetensors")}
    return ModelCard(
        name=checkpoint.name,
        role=cast(Literal["student", "teacher"], checkpoint.role),  # the card checks it
        architecture=checkpoint.architecture,
        config=to_plain(checkpoint.config),
        format="safetensors",
        precision=checkpoint.precision,
        layout="NCHW",
        size_multiple=checkpoint.config.size_multiple,
        halo=GLOBAL_HALO if cost.halo is None else cost.halo,
        tiling_exact=cost.halo is not None,
        parameters=cost.parameters,
        macs_per_pixel=cost.macs_per_pixel,
        quality=tuple(quality),
        teacher=teacher,
        recipe=checkpoint.recipe,
        data=checkpoint.data,
        versions={**checkpoint.versions, **made_with, "edge-derain": __version__},
        licence=_licence(checkpoint.data),
    )


def teacher_loss(
    teacher: ModelCard, quality: Sequence[QualityRow], dataset: str
) -> TeacherLoss | None:
    """Compare rgb scores with those of the teacher on one data set that both were scored on.

    Args:
        teacher: complete card of the teacher.
        quality: scores of the student.
        dataset: name of the set.

    Returns:
        None where one of them has no score on it.
    """
    theirs, ours = (_row(rows, dataset) for rows in (teacher.quality, quality))
    if theirs is None or ours is None or teacher.sha256 is None:
        return None
    return TeacherLoss(
        name=teacher.name,
        sha256=teacher.sha256,
        psnr_loss_db=theirs.psnr - ours.psnr,
        ssim_loss=theirs.ssim - ours.ssim,
        dataset=dataset,
        protocol="rgb",
    )


def _row(rows: Sequence[QualityRow], dataset: str) -> QualityRow | None:
    return next((r for r in rows if r.dataset == dataset and r.protocol == "rgb"), None)


def _licence(data: Sequence[str]) -> str:
    named = f"research data ({', '.join(data)})" if data else "data that the checkpoint leaves out"
    return f"Code Apache-2.0. Weights trained on {named}: non-commercial research use."
