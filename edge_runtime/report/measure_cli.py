"""The part of ``edge-derain`` that measures: ``--tune`` and ``--bench``."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

from edge_runtime.derainer import Derainer
from edge_runtime.models.catalog import find_model
from edge_runtime.models.timings import TuneError, remember
from edge_runtime.report.bench import Bench, bench, bench_table, runs
from edge_runtime.report.tune import tune, tune_table
from edge_runtime.terminal import separator


def show_tune(name: str, note: Callable[[str], None], *, as_json: bool) -> int:
    """Measure the artifacts called ``name``, print them, and remember how fast they are.

    Returns:
        The exit code: 1 where none of them runs.

    Raises:
        ModelNotFoundError, CardError: As ``tune``.
    """
    from tqdm import tqdm

    with tqdm(unit="picture", leave=False, disable=not sys.stderr.isatty()) as bar:
        contenders = tune(name, on_run=bar.update)
    timings = [contender.timing() for contender in contenders]
    try:
        remember(timing for timing in timings if timing is not None)
    except TuneError as error:
        note(f"warning: {error}")
    chosen = find_model(name)
    if as_json:
        for contender in contenders:
            print(json.dumps(contender.record(chosen)))
    else:
        print("\n".join([*tune_table(contenders), f"--model {name} now takes {chosen.name}"]))
    return int(all(contender.median is None for contender in contenders))


def show_bench(
    derainer: Derainer, image: Path | None, threads: int | None, *, as_json: bool
) -> int:
    """Measure what is not the engine's work, print it, and return the exit code 0.

    Raises:
        EdgeDerainError: As ``bench``.
    """
    from tqdm import tqdm

    with tqdm(total=runs(), unit="run", leave=False, disable=not sys.stderr.isatty()) as bar:
        found = bench(derainer, image, threads=threads, on_run=bar.update)
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    first = found.times[0]
    print(separator().join(_method(found)))
    print("\n".join(bench_table(found.times)))
    print(f"medians of {first.repeats} runs after {first.warm_up} that do not count")
    return 0


def _method(found: Bench) -> tuple[str, ...]:
    return (
        f"{found.model} {found.precision}",
        found.engine,
        found.provider,
        f"{found.threads or found.machine.cores} threads",
        found.machine.cpu,
        found.machine.system,
        f"Python {found.machine.python}",
    )
