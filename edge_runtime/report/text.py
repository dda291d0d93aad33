"""A device report as Markdown, for a terminal, an issue or a note."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from edge_runtime.report.board import BoardState
from edge_runtime.report.device import ArtifactReport, DeviceReport

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
        parts += [table(head, rows, 1), ENDURANCE]
    return "\n\n".join(parts)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    texts: int | Collection[int],
    padded: bool = True,
) -> str:
    """Lay out a Markdown table, every column padded to one width where it is read as text.

    The columns ``texts``, or that many of the first, lie left and all others right.
    """
    left = range(texts) if isinstance(texts, int) else texts
    lines = [list(head), *map(list, rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    if not padded:
        widths = [0] * len(head)
    rule = [
        ("-" * max(w, 3) if i in left else "-" * (w - 1 if w else 3) + ":")
        for i, w in enumerate(widths)
    ]
    laid = [
        [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]  # noqa: B905
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [laid[0], rule, *laid[1:]])


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
    return table(head, rows, 2)


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
        *("artifact", "data set", "protocol", "pictures", "input PSNR", "teacher PSNR", "PSNR"),
        *("loss dB", "worst loss", "teacher SSIM", "SSIM", "SSIM loss", "fidelity dB", "worst"),
    )
    rows = [
        (
            *(each.file, row.dataset, row.protocol, str(row.images)),
            *(f"{value:.2f}" for value in (row.input_psnr, row.teacher_psnr, row.psnr)),
            *(f"{value:.2f}" for value in (row.psnr_loss_db, row.spread.most)),
            *(f"{value:.4f}" for value in (row.teacher_ssim, row.ssim, row.ssim_loss)),
            f"{row.fidelity_db:.2f}",
            row.worst,
        )
        for each in report.artifacts
        for row in each.sets
    ]
    return table(head, rows, 3)


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
