"""What a model card is made of: scores, losses against a teacher, a golden pair, one stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from edge_runtime.models.fields import check_fields

_PSNR_DIGITS, _SSIM_DIGITS = 4, 6


@dataclass(frozen=True, kw_only=True)
class QualityRow:
    """Mean quality on one data set, measured on rounded 8-bit pictures.

    PSNR is in dB (peak 255). What measures may count identical pictures as a large number, as
    ``derain evaluate`` does with 100 dB, or as infinite; JSON has no infinity and says ``null``
    there. SSIM is in [-1, 1].
    """

    dataset: str
    images: int
    protocol: Literal["rgb", "y"]
    input_psnr: float
    input_ssim: float
    psnr: float
    ssim: float

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """What was given up against the teacher on one data set, on rounded 8-bit pictures.

    Attributes:
        dataset: As in the :class:`QualityRow` of the same protocol; ``protocol`` likewise.
        psnr_loss_db: ``psnr(teacher, clean) - psnr(student, clean)``, the mean of all pictures;
            negative where the student is better. ``ssim_loss`` likewise.
        fidelity_db: ``psnr(student, teacher)``, the mean of all pictures; None where the
            teacher's pictures were not at hand.
    """

    dataset: str
    protocol: Literal["rgb", "y"]
    psnr_loss_db: float
    ssim_loss: float
    fidelity_db: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class TeacherLoss:
    """What was given up against a teacher.

    Attributes:
        name: Of the teacher; ``sha256`` is the hash of its file.
        taught: Whether the student learned from it; if not, it was only measured against it.
        rows: One for each data set and protocol that both were scored on.
    """

    name: str
    sha256: str
    taught: bool
    rows: tuple[LossRow, ...]

    def __post_init__(self) -> None:
        check_fields(self)

    def row(self, dataset: str, protocol: str) -> LossRow | None:
        """Return the loss on one data set under one protocol; None where it is not known."""
        wanted = dataset, protocol
        return next((row for row in self.rows if (row.dataset, row.protocol) == wanted), None)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A generated rainy picture and what the artifact makes of it, to prove an engine on a chip.

    ``edge_runtime.report.golden`` draws the picture and judges the result.

    Attributes:
        drawer: Version of the drawing; ``seed``, ``height`` and ``width`` say which picture.
        input_sha256: Hash of the picture: HWC uint8 RGB, row by row.
        output_sha256: Hash of the derained picture, likewise.
        mean: Of the derained picture in levels of 8 bits, for R, G and B; ``deviation`` is the
            standard deviation.
        samples: Some of its values, two hexadecimal digits each; ``golden.sample`` says which.
    """

    drawer: int
    seed: int
    height: int
    width: int
    input_sha256: str
    output_sha256: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    samples: str

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """What a runtime needs to run an artifact that is one stage of a recurrent network.

    The artifact takes ``rainy``, the picture ``x`` so far and the states ``h`` and ``c``, and gives
    the next ``x``, ``h`` and ``c``. The first stage takes the rainy picture as ``x`` and zeros as
    states.

    Attributes:
        stages: How many the network was trained with.
        state_width: Channels of ``h`` and of ``c``.
        state_scale: The states are this many times smaller than the picture in height and width.
    """

    stages: int
    state_width: int
    state_scale: int

    def __post_init__(self) -> None:
        check_fields(self)


Row = TypeVar("Row", QualityRow, LossRow)


def rounded(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows with the digits that a card keeps: 0.0001 dB of PSNR, 0.000001 of SSIM."""
    return tuple(map(_rounded, rows))


def learned_from(recipe: Iterable[str], sha256: str) -> bool:
    """Return whether a step of a recipe names the teacher with this hash."""
    return any(sha256 in line for line in recipe)


def _rounded(row: Row) -> Row:
    digits: dict[str, Any] = {
        name: round(value, _SSIM_DIGITS if "ssim" in name else _PSNR_DIGITS)
        for name, value in vars(row).items()
        if isinstance(value, float)
    }
    return dataclasses.replace(row, **digits)
