"""What artifacts are worth on this device: quality against their teacher, speed and memory.

    report = make_report(["small"], read_reference(SHIPPED), Plan())

The record of all of it is a ``DeviceReport``, which ``compress report`` puts beside those of other
boards.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.derainer import Derainer
from edge_runtime.machine import Machine, machine, physical_cores
from edge_runtime.models.card import ModelCard
from edge_runtime.models.schema import cards_upgraded
from edge_runtime.records import from_json
from edge_runtime.report.board import BoardState, read_board
from edge_runtime.report.endurance import Sustained, measure_sustained
from edge_runtime.report.measure import Latency, derain_noise, measure_latency, peak_memory_of
from edge_runtime.report.reference import ReferenceSet
from edge_runtime.report.scores import PictureScores, SetScores, score_reference, sum_up

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ReferenceUsed:
    """Which reference set the scores are of.

    Attributes:
        sha256: Of its ``reference.json``. ``images``: how many pictures it has.
        protocol: How quality is measured.
        teacher: Name of who made its pictures. ``teacher_sha256``: of that file.
    """

    sha256: str
    images: int
    protocol: str
    teacher: str
    teacher_sha256: str


@dataclass(frozen=True, kw_only=True)
class ArtifactReport:
    """What one artifact does on this device.

    Attributes:
        file: Name of the artifact. ``card``: its card, with its size in bytes.
        engine: With its version. ``provider``: what executes in it. ``threads``: that it uses.
        latency: Of one picture, after warming up.
        peak_bytes: The most that a process held which loaded it and derained one such picture,
            interpreter and engine included.
        sets: Mean scores by data set. ``pictures``: the scores behind them.
        sustained: Over minutes, where that was asked for.
        before: State of the board before the measurements of time. ``after``: after them.
    """

    file: str
    card: ModelCard
    engine: str
    provider: str
    threads: int
    latency: Latency
    peak_bytes: int
    sets: tuple[SetScores, ...]
    pictures: tuple[PictureScores, ...]
    sustained: Sustained | None = None
    before: BoardState = field(default_factory=BoardState)
    after: BoardState = field(default_factory=BoardState)


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What ``edge-report --json`` writes.

    Attributes:
        made: When, in UTC, ISO 8601. ``version``: of this package.
        machine: What it was measured on.
        reference: Which pictures were scored.
        artifacts: In the order in which they were asked for.
    """

    schema: int = SCHEMA
    made: str
    version: str
    machine: Machine
    reference: ReferenceUsed
    artifacts: tuple[ArtifactReport, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to measure.

    Attributes:
        threads: Of the engine; None takes the physical cores.
        height: Of the picture that is timed, in pixels; ``width`` likewise.
        repeats: Runs that count; the warm-up comes before.
        minutes: To derain on end; 0 leaves that out.
    """

    threads: int | None = None
    height: int = 720
    width: int = 1280
    repeats: int = 10
    minutes: float = 0.0


Tell = Callable[[str, float], None]
"""Called with what is done now and the share of it that is done, from 0 to 1."""


def make_report(
    models: Sequence[str | Path],
    reference: ReferenceSet,
    plan: Plan,
    tell: Tell = lambda what, share: None,
) -> DeviceReport:
    """Score and time artifacts one after the other.

    Args:
        models: Names or paths, as ``Derainer.load`` takes them.
        reference: What to score on.
        plan: How to measure.
        tell: Hears of the progress.

    Raises:
        EdgeDerainError: A model or picture cannot be read, or an engine failed.
    """
    teacher = reference.index.teacher
    return DeviceReport(
        made=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        version=__version__,
        machine=machine(),
        reference=ReferenceUsed(
            sha256=reference.sha256,
            images=len(reference.index.pictures),
            protocol=reference.index.protocol,
            teacher=teacher.name,
            teacher_sha256=teacher.sha256,
        ),
        artifacts=tuple(examine(model, reference, plan, tell) for model in models),
    )


def examine(
    model: str | Path,
    reference: ReferenceSet,
    plan: Plan,
    tell: Tell = lambda what, share: None,
) -> ArtifactReport:
    """Score and time one artifact; arguments as ``make_report``."""
    with Derainer.load(model, threads=plan.threads) as derainer:
        name = derainer.model_path.name
        pictures: list[PictureScores] = []
        count = len(reference.index.pictures)
        for number, scored in enumerate(score_reference(derainer, reference), start=1):
            pictures += scored
            tell(f"{name}: pictures", number / count)
        tell(f"{name}: latency", 0.0)
        before = read_board()
        latency = measure_latency(derainer, plan.height, plan.width, repeats=plan.repeats)
        tell(f"{name}: latency", 1.0)
        sustained = None
        if plan.minutes:
            seconds = plan.minutes * 60
            sustained = measure_sustained(
                derainer,
                plan.height,
                plan.width,
                seconds,
                tick=lambda passed: tell(f"{name}: sustained", min(passed / seconds, 1.0)),
            )
        after = read_board()
        session, card, path = derainer.session, derainer.card, derainer.model_path
    tell(f"{name}: memory", 0.0)
    alone = peak_memory_of(_derain_once, str(path), plan.height, plan.width, plan.threads)
    tell(f"{name}: memory", 1.0)
    return ArtifactReport(
        file=name,
        card=card,
        engine=session.name,
        provider=session.provider,
        threads=plan.threads or physical_cores(),
        latency=latency,
        peak_bytes=alone.peak_bytes,
        sets=sum_up(pictures),
        pictures=tuple(pictures),
        sustained=sustained,
        before=before,
        after=after,
    )


def _derain_once(path: str, height: int, width: int, threads: int | None) -> None:
    derain_noise(path, height, width, threads=threads)


def read_report(text: str, source: str) -> DeviceReport:
    """Read what ``edge-report --json`` wrote.

    Raises:
        RecordError: Malformed, or of a schema that only a later version understands.
        CardError: A card in it that is none.
    """
    return from_json(DeviceReport, text, SCHEMA, source, cards_upgraded)
