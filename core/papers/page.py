"""The comparison as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.evaluation.table import ABSENT, INPUT, inputs, number
from core.papers.config import PapersConfig
from core.papers.methods import Known
from core.papers.seconds import HEIGHT, WIDTH
from edge_runtime.metrics import Protocol
from edge_runtime.models.card import QualityRow

_KILO = 1000
_PROTOCOL_NAMES: dict[Protocol, str] = {"y": "luma (`y`)", "rgb": "all channels (`rgb`)"}


def page(
    config: PapersConfig,
    known: Sequence[Known],
    seconds: Mapping[str, float],
    machine: str,
    strip: str | None = None,
) -> str:
    """Write the page.

    Args:
        config: datasets, printed figures and notes.
        known: the methods, in the order of the tables.
        seconds: for one picture of 480x320 pixels on one thread, by name of the method.
        machine: where those were measured.
        strip: address of the strip of pictures, as seen from the page.

    Raises:
        DataError: methods that were scored on different pictures.
    """
    parts = [
        "# The papers' methods beside ours",
        "PSNR in dB / SSIM on rounded 8-bit pictures, all scored by the same code. A dash stands "
        "for what is not known; nothing is filled in from elsewhere.",
    ]
    for protocol in ("y", "rgb"):
        parts += [f"## On {_PROTOCOL_NAMES[protocol]}", _quality(config, known, protocol)]
    parts += [
        "## What they cost",
        _costs(known, seconds),
        f"Seconds: processor time for a picture of {WIDTH}x{HEIGHT} pixels on one thread of "
        f"{machine}, PyTorch and NumPy, median of three after one warm-up. The multiplications of "
        "GMM depend on the picture. Steps and hours are those of training, in PyTorch; hours are "
        "not known of networks that went on from others.",
        "## What the papers print",
        _printed(config),
        *config.notes,
    ]
    if strip:
        parts += ["## One picture", f"![The same rainy picture derained by each method]({strip})"]
    missing = [f"- {each.method.name}: {each.missing}" for each in known if each.missing]
    if missing:
        parts += ["## Missing", "\n".join(missing)]
    parts.append("Made by `derain table papers`.")
    return "\n\n".join(parts) + "\n"


def _quality(config: PapersConfig, known: Sequence[Known], protocol: Protocol) -> str:
    columns = [f"{dataset}/{protocol}" for dataset in config.datasets]
    given = inputs({each.path: each.scores for each in known}, columns)
    lines = [
        ["method", "from", *config.datasets],
        ["---", "---", *("---:" for _ in columns)],
        [INPUT, ABSENT, *(_both(given.get(c), "input_psnr", "input_ssim") for c in columns)],
    ]
    for each in known:
        cells = (_both(each.scores.get(column), "psnr", "ssim") for column in columns)
        lines.append([each.method.name, each.method.paper, *cells])
    return _rows(lines)


def _costs(known: Sequence[Known], seconds: Mapping[str, float]) -> str:
    headings = ["method", "parameters", "kMAC per pixel", "seconds", "steps", "hours", "hardware"]
    lines = [headings, ["---", *["---:"] * 5, "---"]]
    for each in known:
        cost = each.cost
        lines.append(
            [
                each.method.name,
                number(each.parameters, ",d"),
                number(each.macs_per_pixel, ",.1f", _KILO),
                number(seconds.get(each.method.name), ".2f"),
                number(cost.steps if cost else None, ",d"),
                number(cost.hours if cost else None, ".1f"),
                cost.hardware if cost else ABSENT,
            ]
        )
    return _rows(lines)


def _printed(config: PapersConfig) -> str:
    lines = [["method", "data set", "PSNR / SSIM", "printed in"], ["---", "---", "---:", "---"]]
    for figure in config.printed:
        value = f"{figure.psnr:g}" if figure.ssim is None else f"{figure.psnr:.2f} / {figure.ssim}"
        lines.append([figure.method, figure.dataset, value, figure.source])
    return _rows(lines)


def _both(row: QualityRow | None, psnr: str, ssim: str) -> str:
    return f"{getattr(row, psnr):.2f} / {getattr(row, ssim):.4f}" if row else ABSENT


def _rows(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
