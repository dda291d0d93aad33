"""The table of ``edge-derain --tune``, and what it remembers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from edge_runtime.errors import TuneError
from edge_runtime.models.catalog import find_model, remember
from edge_runtime.report.tune import tune, tune_table


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
