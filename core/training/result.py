"""How a training run ended, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        folder: where ``best``, ``last`` and ``state`` (.safetensors), ``config.yaml`` and the
            folder ``logs`` are; after a GAN phase that followed a PSNR phase also ``before_gan``.
        step: finished steps.
        steps: steps in all.
        score: best validation score so far in dB, None before the first validation.
        stopped_by: number of the signal that ended it early, or None.
        before_gan: score in dB when the GAN phase began, None where it did not begin in this run.
        last: score in dB of the last validation.
        waiting: share of the time that was spent waiting for data, 0 to 1.
        first: whether this is the first of the run's processes, the one that writes and scores.
    """

    folder: Path
    step: int
    steps: int
    score: float | None
    stopped_by: int | None
    before_gan: float | None
    last: float | None
    waiting: float
    first: bool

    @property
    def exit_code(self) -> int:
        """What a command that made the run returns: 0, or 128 and the number of the signal."""
        return 0 if self.stopped_by is None else 128 + self.stopped_by

    def summary(self) -> tuple[str, ...]:
        """Lines for whoever started the run; none in the processes that are not the first."""
        if not self.first:
            return ()
        if self.stopped_by is not None:
            return (
                f"stopped after step {self.step} of {self.steps}, saved in {self.folder}; "
                "the same command with --resume goes on",
            )
        best = self.folder / "best.safetensors"
        lines = [
            f"{self.step} steps, best score {self.score:.2f} dB: {best} "
            f"({self.waiting:.0%} of the time spent waiting for data)"
        ]
        if self.before_gan is not None:
            lines.append(
                f"score before the GAN phase {self.before_gan:.2f} dB (before_gan.safetensors), "
                f"after it {self.last:.2f} dB (last.safetensors)"
            )
        return tuple(lines)
