"""The command ``edge-report``: what artifacts are worth on this device."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edge_runtime
from edge_runtime.errors import TuneError, UsageError
from edge_runtime.options import checked, whole_number
from edge_runtime.terminal import (
    exit_code,
    native_messages_hidden,
    termination_raised,
)

if TYPE_CHECKING:
    from tqdm import tqdm


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 when all was measured; 1 when something failed; 2 when the request itself is wrong; 130 after
    Ctrl-C, 143 after SIGTERM.
    """
    with termination_raised():
        return exit_code("edge-report", lambda: _report(_parse(argv)))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="edge-report",
        description="Score artifacts against their teacher, and measure time and memory, here.",
        epilog="Without DIR, on the small reference set that ships.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {edge_runtime.__version__}"
    )
    parser.add_argument("reference", nargs="?", metavar="DIR", help="reference set")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model",
        nargs="+",
        metavar="NAME|PATH",
        help="artifacts (default: one of each name that ships)",
    )
    which.add_argument("--all", action="store_true", help="all artifacts that ship")
    which.add_argument(
        "--tune",
        nargs="?",
        const="small",
        metavar="NAME",
        help="only measure which artifact of a model is fastest here, and use it from now on "
        "(default: small)",
    )
    parser.add_argument("--json", metavar="OUT", help="write the report to this file as well")
    parser.add_argument(
        "--threads", type=checked(whole_number(1)), metavar="N", help="default: physical cores"
    )
    parser.add_argument(
        "--size",
        type=checked(_parse_size),
        metavar="WxH",
        default=(1280, 720),
        help="of the picture that is timed (default: 1280x720)",
    )
    parser.add_argument(
        "--repeats", type=checked(whole_number(1)), metavar="N", default=10, help="timed runs: 10"
    )
    parser.add_argument(
        "--minutes",
        type=checked(_parse_minutes),
        metavar="N",
        default=0.0,
        help="derain so long on end as well, for heat and throttling",
    )
    return parser.parse_args(argv)


def _report(arguments: argparse.Namespace) -> int:
    from edge_runtime.models.records import to_json
    from edge_runtime.report.device import Plan, make_report, markdown
    from edge_runtime.report.reference import SHIPPED, read_reference

    out = Path(arguments.json) if arguments.json else None
    if out and (out.is_dir() or not os.access(out.parent, os.W_OK)):
        raise UsageError(f"--json {out}: cannot be written; name a file in a folder that can")
    if arguments.tune:
        return _tune(arguments, out)
    reference = read_reference(Path(arguments.reference) if arguments.reference else SHIPPED)
    width, height = arguments.size
    plan = Plan(
        threads=arguments.threads,
        height=height,
        width=width,
        repeats=arguments.repeats,
        minutes=arguments.minutes,
    )
    models = _models(arguments)
    with native_messages_hidden(), _Bar() as bar:
        report = make_report(models, reference, plan, bar.show)
    _write(out, to_json(report))
    print(markdown(report))
    return 0


def _tune(arguments: argparse.Namespace, out: Path | None) -> int:
    """Measure the artifacts of one name, show them and remember the times; 1 if none runs."""
    from tqdm import tqdm

    from edge_runtime.models.catalog import find_model, remember
    from edge_runtime.report.tune import tune, tune_table

    if arguments.reference or arguments.threads or arguments.minutes:
        raise UsageError("--tune takes neither DIR, --threads nor --minutes; leave them out")
    quiet = not sys.stderr.isatty()
    with native_messages_hidden(), tqdm(unit="picture", leave=False, disable=quiet) as bar:
        contenders = tune(arguments.tune, on_run=bar.update)
    try:
        remember(timing for each in contenders if (timing := each.timing()) is not None)
    except TuneError as error:
        _note(f"warning: {error}")
    chosen = find_model(arguments.tune)
    print("\n".join([*tune_table(contenders), f"--model {arguments.tune} now takes {chosen.name}"]))
    _write(out, json.dumps([each.record(chosen) for each in contenders], indent=1) + "\n")
    return int(all(contender.median is None for contender in contenders))


def _note(message: str) -> None:
    print(f"edge-report: {message}", file=sys.stderr, flush=True)


def _write(out: Path | None, text: str) -> None:
    from edge_runtime.files import write_atomically

    if out is None:
        return
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise UsageError(f"--json {out}: cannot be written ({error.strerror})") from error


def _models(arguments: argparse.Namespace) -> list[str | Path]:
    """Return what to open: what was named, or the artifacts that ship and an engine here runs."""
    from edge_runtime.machine import PACKAGES, installed_engines
    from edge_runtime.models.catalog import find_model, list_models

    if arguments.model:
        return list(arguments.model)
    shipped = list_models()
    if not shipped:
        raise UsageError("no models ship with this installation; name artifacts with --model")
    if arguments.all:
        for path, card in shipped:
            if card.format not in installed_engines():
                package = PACKAGES[card.format]
                print(
                    f"edge-report: {path.name} left out: {package} is not installed; "
                    f"run: pip install {package}",
                    file=sys.stderr,
                )
        return [path for path, card in shipped if card.format in installed_engines()]
    return [find_model(name) for name in dict.fromkeys(card.name for _, card in shipped)]


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match or 0 in (int(match[1]), int(match[2])):
        raise ValueError(f"must be WIDTHxHEIGHT, such as 1280x720, got {text!r}")
    return int(match[1]), int(match[2])


def _parse_minutes(text: str) -> float:
    minutes = float(text) if re.fullmatch(r"\d{1,5}(\.\d+)?|\.\d+", text) else 0.0
    if minutes <= 0:
        raise ValueError(f"must be a number of minutes above 0, got {text!r}")
    return minutes


class _Bar:
    """What is measured now, on a terminal's standard error; nothing in a pipe."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, what: str, share: float) -> None:
        if self._bar is None:
            if not sys.stderr.isatty():
                return
            from tqdm import tqdm

            self._bar = tqdm(
                total=100, leave=False, file=sys.stderr, bar_format="{desc} {bar} {percentage:.0f}%"
            )
        self._bar.set_description_str(what, refresh=False)
        self._bar.n = round(share * 100)
        self._bar.refresh()


if __name__ == "__main__":
    sys.exit(main())
