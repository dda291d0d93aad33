"""The card of a checkpoint: what it is, costs and scored, and what it lost against its teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Literal, cast

from compress.cost import measure_cost
from core.checkpoint import Checkpoint
from edge_runtime import __version__
from edge_runtime.models.card import LossRow, ModelCard, QualityRow, TeacherLoss
from edge_runtime.models.records import to_plain
from edge_runtime.models.schema import learned_from

GLOBAL_HALO = 64
"""Overlap in pixels of tiles where no overlap is exact, because the network pools globally."""
_RESEARCH = re.compile(
    r"rain(12|100|200|800|1[24]00|12600|12800|13k|train)|spa[-_]?data|^spa$|bsd|garg|urban100|"
    r"sunhays|cityscapes|cityrain|kitti|nyu|clean_(outdoor|large)|video_rb2|real_rain|rgbd",
    re.IGNORECASE,
)
"""Names of the public data sets that are for non-commercial research only."""


def checkpoint_card(
    checkpoint: Checkpoint,
    quality: Sequence[QualityRow] = (),
    teacher: TeacherLoss | None = None,
) -> ModelCard:
    """Describe a checkpoint, without the size and hash of its file.

    Args:
        checkpoint: what to describe.
        quality: scores measured with it.
        teacher: what it gave up against a teacher.

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
        licence=_licence(checkpoint),
    )


def teacher_loss(
    name: str,
    sha256: str,
    theirs: Sequence[QualityRow],
    ours: Sequence[QualityRow],
    recipe: Sequence[str],
    fidelity: Mapping[tuple[str, str], float] | None = None,
) -> TeacherLoss | None:
    """Compare scores with those of a teacher on the data sets that both were scored on.

    Args:
        name: of the teacher.
        sha256: of the teacher's file.
        theirs: scores of the teacher.
        ours: scores of the student.
        recipe: steps that made the student; they say whether it learned from this teacher.
        fidelity: PSNR of the student's pictures against the teacher's in dB, by data set and
            protocol.

    Returns:
        None where there is no common score.
    """
    by_set = {(row.dataset, row.protocol): row for row in theirs}
    rows = tuple(
        LossRow(
            dataset=row.dataset,
            protocol=row.protocol,
            psnr_loss_db=by_set[row.dataset, row.protocol].psnr - row.psnr,
            ssim_loss=by_set[row.dataset, row.protocol].ssim - row.ssim,
            fidelity_db=(fidelity or {}).get((row.dataset, row.protocol)),
        )
        for row in ours
        if (row.dataset, row.protocol) in by_set
    )
    taught = learned_from(recipe, sha256)
    return TeacherLoss(name=name, sha256=sha256, taught=taught, rows=rows) if rows else None


def _licence(checkpoint: Checkpoint) -> str:
    """Return what is known of the weights' licence: what is stated, and what research sets ask."""
    research = [name for name in checkpoint.data if _RESEARCH.search(name)]
    if research:
        stated = checkpoint.licence and f"{checkpoint.licence.rstrip('.')}. "
        named = ", ".join(research)
        return (
            f"Code Apache-2.0. {stated}Weights trained on research data ({named}): "
            "non-commercial research use."
        )
    return f"Code Apache-2.0. Weights: {checkpoint.licence or 'no licence is stated'}."
