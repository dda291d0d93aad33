"""Scores of an artifact against clean pictures and against its teacher, on a reference set.

    psnr_loss_db = psnr(teacher, clean) - psnr(student, clean)      ssim_loss likewise
    fidelity_db  = psnr(student, teacher)

all on rounded 8-bit pictures, picture by picture, then averaged. What is identical counts 100 dB.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.metrics import IDENTICAL_DB, PROTOCOLS, Protocol, counted_psnr, measure
from edge_runtime.report.reference import ReferencePicture, ReferenceSet

RAINY = "all rain"
"""Name under which the pictures of all data sets are summed up, but for those without rain."""

Image = NDArray[np.uint8]
Derain = Callable[[NDArray[Any]], NDArray[Any]]
"""Takes and returns HWC uint8 RGB."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Quality of the rainy picture, the teacher's and the student's, and what lies between them.

    Attributes:
        dataset: Of the picture or pictures; ``protocol`` is what was measured.
        input_psnr: Of the rainy picture in dB. ``input_ssim``: its SSIM, in [-1, 1].
        teacher_psnr: Of the teacher's. ``teacher_ssim`` likewise.
        psnr: Of the student's. ``ssim`` likewise.
        fidelity_db: PSNR of the student's picture against the teacher's.
        psnr_loss_db: What was given up against the teacher. ``ssim_loss`` likewise.
    """

    dataset: str
    protocol: Protocol
    input_psnr: float
    input_ssim: float
    teacher_psnr: float
    teacher_ssim: float
    psnr: float
    ssim: float
    fidelity_db: float
    psnr_loss_db: float
    ssim_loss: float


_AVERAGED = [f.name for f in dataclasses.fields(Scores) if f.name not in ("dataset", "protocol")]


@dataclass(frozen=True, kw_only=True)
class PictureScores(Scores):
    """Scores of one picture.

    Attributes:
        name: Names it within its data set.
        left_alone: Whether the student gave it back as it was.
    """

    name: str
    left_alone: bool = False

    @property
    def rainy(self) -> bool:
        """Whether the picture that was given differs from the clean one at all."""
        return self.input_psnr < IDENTICAL_DB


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the loss against the teacher differs from picture to picture, in dB.

    Attributes:
        least: The smallest, negative where the student is better. ``most``: the largest.
        median: Half of the pictures lose less. ``deviation``: standard deviation.
    """

    least: float
    median: float
    most: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class SetScores(Scores):
    """Means over the pictures of a data set.

    Attributes:
        images: How many there are. ``left_alone``: how many of them the student gave back as they
            were.
        spread: Of the losses.
        worst: Name of the picture that loses most, with its data set: ``DATASET/NAME``.
    """

    images: int
    spread: Spread
    worst: str
    left_alone: int = 0


def score_reference(derain: Derain, reference: ReferenceSet) -> Iterator[list[PictureScores]]:
    """Score picture by picture; yields one list a picture, with a record for each protocol.

    Raises:
        ImageError, ReferenceSetError: A picture of the set is missing, damaged or changed.
        SessionError: The engine failed.
        MetricError: A picture is too small for SSIM.
    """
    for picture in reference.index.pictures:
        rainy = reference.read(picture, "rainy")
        clean = reference.read(picture, "clean")
        teacher = reference.read(picture, "teacher")
        student = derain(rainy)
        yield _compare(picture, rainy, clean, teacher, student)


def sum_up(pictures: Sequence[PictureScores]) -> tuple[SetScores, ...]:
    """Average each data set under each protocol, and all of them where there are several.

    Pictures without rain are left out of the latter: the 100 dB that a teacher earns by not
    touching one say nothing of rain and would outweigh everything else.
    """
    groups: dict[str, list[PictureScores]] = {}
    for picture in pictures:
        groups.setdefault(picture.dataset, []).append(picture)
    if len(groups) > 1:
        groups[RAINY] = [picture for picture in pictures if picture.rainy]
    return tuple(
        _mean(name, protocol, members)
        for name, group in groups.items()
        for protocol in PROTOCOLS
        if (members := [picture for picture in group if picture.protocol == protocol])
    )


def _compare(
    picture: ReferencePicture, rainy: Image, clean: Image, teacher: Image, student: Image
) -> list[PictureScores]:
    before, best = measure(rainy, clean), measure(teacher, clean)
    after, alike = measure(student, clean), measure(student, teacher)
    return [
        PictureScores(
            dataset=picture.dataset,
            name=picture.name,
            left_alone=bool(np.array_equal(rainy, student)),
            protocol=protocol,
            input_psnr=counted_psnr(before[protocol]),
            input_ssim=before[protocol].ssim,
            teacher_psnr=counted_psnr(best[protocol]),
            teacher_ssim=best[protocol].ssim,
            psnr=counted_psnr(after[protocol]),
            ssim=after[protocol].ssim,
            fidelity_db=counted_psnr(alike[protocol]),
            psnr_loss_db=counted_psnr(best[protocol]) - counted_psnr(after[protocol]),
            ssim_loss=best[protocol].ssim - after[protocol].ssim,
        )
        for protocol in PROTOCOLS
    ]


def _mean(dataset: str, protocol: Protocol, members: Sequence[PictureScores]) -> SetScores:
    losses = [member.psnr_loss_db for member in members]
    worst = max(members, key=lambda member: member.psnr_loss_db)
    means = {name: float(np.mean([getattr(m, name) for m in members])) for name in _AVERAGED}
    return SetScores(
        dataset=dataset,
        protocol=protocol,
        images=len(members),
        left_alone=sum(member.left_alone for member in members),
        spread=Spread(
            least=min(losses),
            median=statistics.median(losses),
            most=max(losses),
            deviation=float(np.std(losses)),
        ),
        worst=f"{worst.dataset}/{worst.name}",
        **means,
    )
