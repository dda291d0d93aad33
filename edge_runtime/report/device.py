"""Worth of artifacts on this device: quality against their teacher, speed and memory.

    report = make_report(["small"], read_reference(SHIPPED), Plan())

The record of all of it is a ``DeviceReport``, which ``compress report`` puts beside those of other
boards.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.derainer import Derainer
from edge_runtime.machine import Machine, machine, physical_cores
from edge_runtime.models.card import ModelCard, cards_of_today
from edge_runtime.models.records import from_json
from edge_runtime.report.endurance import BoardState, Sustained, measure_sustained, read_board
from edge_runtime.report.measure import Latency, derain_noise, measure_latency, peak_memory_of
from edge_runtime.report.reference import ReferenceSet
from edge_runtime.report.scores import PictureScores, SetScores, score_reference, sum_up
from edge_runtime.terminal import markdown_table

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
    alone = peak_memory_of(derain_noise, str(path), plan.height, plan.width, plan.threads)
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


def read_report(text: str, source: str) -> DeviceReport:
    """Read what ``edge-report --json`` wrote.

    Raises:
        RecordError: Malformed, or of a schema that only a later version understands.
        CardError: A card in it that is none.
    """
    return from_json(DeviceReport, text, SCHEMA, source, cards_of_today)


ENDURANCE = (
    "Derained without a pause; first and last are medians of the first and the last tenth of the "
    "pictures, hottest the highest temperature of the processor."
)
"""What the rows of ``endurance_rows`` say."""


def markdown(report: DeviceReport) -> str:
    """Return the report as Markdown: the machine, cost, quality, and time on end where measured."""
    used = report.reference
    machine = report.machine
    cores = f"{machine.cores} core{'s' * (machine.cores != 1)}"
    title = f"{machine.cpu}, {cores}, {machine.system}, Python {machine.python}"
    scored = (
        f"{used.images} pictures against the teacher {used.teacher} "
        f"({used.teacher_sha256[:12]}). {used.protocol}."
    )
    parts = [f"# {title}", _cost(report), _method(report), _quality(report), scored]
    head, rows = endurance_rows(report.artifacts)
    if rows:
        parts += [markdown_table(head, rows, 1), ENDURANCE]
    return "\n\n".join(parts)


def _cost(report: DeviceReport) -> str:
    head = ("artifact", "engine", "kB", "kMAC/pixel", "ms", "p95 ms", "peak MB", "threads")
    rows = [
        (
            each.file,
            f"{each.engine} ({each.provider})",
            f"{(each.card.bytes or 0) / 1000:.0f}",
            f"{each.card.macs_per_pixel / 1000:.1f}",
            f"{each.latency.median_ms:.1f}",
            f"{each.latency.p95_ms:.1f}",
            f"{each.peak_bytes / 10**6:.0f}",
            str(each.threads),
        )
        for each in report.artifacts
    ]
    return markdown_table(head, rows, 2)


def _method(report: DeviceReport) -> str:
    first = report.artifacts[0]
    latency = first.latency
    said = (
        f"Median of {latency.repeats} runs after {latency.warm_up} on a picture of "
        f"{latency.width} x {latency.height}. Peak memory is that of a process which loads the "
        "artifact and derains one such picture."
    )
    state = _state(report.artifacts[-1].after)
    return f"{said} {state}" if state else said


def _quality(report: DeviceReport) -> str:
    head = (
        *("artifact", "data set", "protocol", "pictures", "left alone"),
        *("input PSNR", "teacher PSNR", "PSNR"),
        *("loss dB", "worst loss", "teacher SSIM", "SSIM", "SSIM loss", "fidelity dB", "worst"),
    )
    rows = [
        (
            *(each.file, row.dataset, row.protocol, str(row.images), str(row.left_alone)),
            *(f"{value:.2f}" for value in (row.input_psnr, row.teacher_psnr, row.psnr)),
            *(f"{value:.2f}" for value in (row.psnr_loss_db, row.spread.most)),
            *(f"{value:.4f}" for value in (row.teacher_ssim, row.ssim, row.ssim_loss)),
            f"{row.fidelity_db:.2f}",
            row.worst,
        )
        for each in report.artifacts
        for row in each.sets
    ]
    return markdown_table(head, rows, 3)


def endurance_rows(
    artifacts: Iterable[ArtifactReport],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of time and heat over minutes, of those measured so."""
    head = ("artifact", "minutes", "pictures", "first ms", "last ms", "p95 ms", "hottest", "slowed")
    rows: list[tuple[str, ...]] = []
    for each in artifacts:
        if each.sustained is None:
            continue
        found = each.sustained
        flags = "not shown" if found.throttled is None else ", ".join(found.throttled) or "no"
        rows.append(
            (
                each.file,
                f"{found.seconds / 60:.1f}",
                str(found.runs),
                f"{found.first_ms:.1f}",
                f"{found.last_ms:.1f}",
                f"{found.p95_ms:.1f}",
                "not shown" if found.hottest_c is None else f"{found.hottest_c:.0f} °C",
                flags,
            )
        )
    return head, rows


def _state(state: BoardState) -> str:
    said = []
    if state.temperature_c is not None:
        said.append(f"Processor at {state.temperature_c:.0f} °C afterwards.")
    if state.throttled is not None:
        said.append(f"Slowed down: {', '.join(state.throttled) or 'no'}.")
    return " ".join(said)
