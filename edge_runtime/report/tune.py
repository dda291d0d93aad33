"""Times of every artifact of a name in every engine of this machine, measured and remembered."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.derainer import Derainer, open_session
from edge_runtime.engines.onnx_runtime import onnx_providers
from edge_runtime.errors import EdgeDerainError, ModelNotFoundError
from edge_runtime.machine import installed_engines, machine
from edge_runtime.models.card import ModelCard, load_card
from edge_runtime.models.catalog import (
    PRECISIONS,
    WEIGHTS,
    Model,
    Timing,
    list_models,
)
from edge_runtime.report.measure import Clock, noise_picture
from edge_runtime.terminal import aligned

PICTURE = (480, 640)
"""Height and width in pixels of what is derained."""
SECONDS = 3.0
"""For each artifact in each engine, on average."""
LOSS_ALLOWED_DB = 0.05
"""What a faster artifact may lose against the best of the same name: in dB of PSNR (``rgb``),
the mean of the data sets on the cards. Int8 may keep one kind of rain and lose another."""
COUNTED_DB = 40.0
"""What more PSNR than this counts in that mean, as in the score of training."""

_WARM_UP = 1
_ROUNDS = 3  # at least


@dataclass
class Contender:
    """One artifact in one engine with one provider.

    Attributes:
        path: The artifact; ``card`` its card.
        engine: With its version; None where none that runs it is installed.
        provider: What executes in it; empty as long as it is not open.
        good: Whether its quality lets it be chosen; see ``good_enough``.
        milliseconds: Of each round that counted.
        error: Why it has none, in one line, or None.
    """

    path: Path
    card: ModelCard
    engine: str | None
    provider: str
    good: bool
    milliseconds: list[float]
    error: str | None = None

    @property
    def median(self) -> float | None:
        """The median of the rounds in milliseconds, or None where it does not run."""
        return None if self.error or not self.milliseconds else statistics.median(self.milliseconds)

    def record(self, chosen: Path) -> dict[str, object]:
        """Return what JSON output says about it; ``chosen`` is what ``auto`` takes from now on."""
        return {
            "path": str(self.path),
            "precision": self.card.precision,
            "engine": self.engine,
            "provider": self.provider or None,
            "milliseconds": None if self.median is None else round(self.median, 3),
            "rounds": len(self.milliseconds),
            "good_enough": self.good,
            "chosen": self.path == chosen,
            "error": self.error,
        }

    def timing(self) -> Timing | None:
        """Return what is remembered of it; None where there is nothing to remember."""
        if self.engine is None or not self.provider:
            return None
        sha256 = self.card.sha256 or ""
        return Timing(machine().key, self.engine, self.provider, sha256, self.median, self.good)


def tune(
    name: str,
    folder: Path = WEIGHTS,
    *,
    seconds: float = SECONDS,
    on_run: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter,
) -> list[Contender]:
    """Measure the artifacts called ``name``, fastest first, those that do not run last.

    All are opened and warmed up; then they take turns, one picture each, so that whatever else
    the machine does meanwhile strikes all alike. Pixels in, pixels out; files do not count.

    Args:
        name: Of a model in ``folder``, such as ``'small'``.
        folder: Where its artifacts lie.
        seconds: To spend on each of them, on average; three rounds are made in any case.
        on_run: Called after each picture.
        clock: For tests.

    Raises:
        ModelNotFoundError: Nothing in ``folder`` has this name.
        CardError: An artifact has no card, a malformed one, or not its own.
    """
    contenders = _contenders(name, folder)
    opened = [(contender, _open(contender)) for contender in contenders]
    running = [(contender, derainer) for contender, derainer in opened if derainer is not None]
    picture = noise_picture(*PICTURE)
    for _ in range(_WARM_UP):
        for contender, derainer in running:
            _run(contender, derainer, picture, clock)
            contender.milliseconds.clear()
            on_run()
    start, rounds = clock(), 0
    while running and (rounds < _ROUNDS or clock() - start < seconds * len(running)):
        for contender, derainer in running:
            if contender.error is None:
                _run(contender, derainer, picture, clock)
                on_run()
        rounds += 1
    return sorted(contenders, key=lambda c: (c.median is None, c.median or 0.0))


def good_enough(models: Sequence[Model]) -> list[Model]:
    """Return the models that lose no more than ``LOSS_ALLOWED_DB`` against the best of them.

    Without a score there is no telling: such models are left out where others have one, and where
    none has, the most precise are left.
    """
    found = [_psnr(card) for _, card in models]
    shared = set.intersection(*[set(each) for each in found if each] or [set()])
    scores = [_mean(each, shared) for each in found]
    if not shared:
        scores = [-float(PRECISIONS.index(card.precision)) for _, card in models]
    best = max(scores, default=0.0)
    allowed = zip(models, scores, strict=True)
    return [model for model, score in allowed if score >= best - LOSS_ALLOWED_DB]


def tune_table(contenders: Sequence[Contender]) -> list[str]:
    """Return the lines of a table: a header, then one line for each, in their order."""
    medians = [c.median for c in contenders if c.median is not None]
    rows = [("artifact", "engine", "provider", "ms", "of fastest", "")]
    for contender in contenders:
        median = contender.median
        note = contender.error or ("" if contender.good else "loses too much quality for auto")
        rows.append(
            (
                contender.path.name,
                contender.engine or "-",
                contender.provider or "-",
                "-" if median is None else f"{median:.1f}",
                "-" if median is None else f"{median / min(medians):.2f}",
                note,
            )
        )
    return aligned(rows, numbers=(3, 4))


def _contenders(name: str, folder: Path) -> list[Contender]:
    models = list_models(folder)
    named = [model for model in models if model[1].name == name]
    if not named:
        known = ", ".join(sorted({card.name for _, card in models})) or "none"
        raise ModelNotFoundError(f"--tune {name!r}: no model has this name; there are: {known}")
    engines = installed_engines()
    runnable = [model for model in named if model[1].format in engines]
    good = good_enough(runnable)
    found = []
    for path, card in named:
        engine = engines.get(card.format)
        providers = onnx_providers() if card.format == "onnx" and engine else [""]
        for provider in providers:
            fits = (path, card) in good
            found.append(Contender(path, card, engine, provider, fits, []))
    return found


def _open(contender: Contender) -> Derainer | None:
    asked = contender.provider
    card = load_card(contender.path)
    try:
        session = open_session(contender.path, card, None, asked or None)
    except EdgeDerainError as error:
        contender.error = str(error)
        return None
    contender.provider = session.provider
    if asked not in ("", session.provider):
        contender.provider = asked
        contender.error = f"{asked} cannot be set up here"
        return None
    return Derainer(session, card, contender.path)


def _run(
    contender: Contender, derainer: Derainer, picture: NDArray[np.uint8], clock: Clock
) -> None:
    start = clock()
    try:
        derainer(picture)
    except EdgeDerainError as error:
        contender.error = str(error)
    contender.milliseconds.append((clock() - start) * 1000)


def _psnr(card: ModelCard) -> dict[str, float]:
    rows = [row for row in card.quality if row.protocol == "rgb"]
    return {row.dataset: min(row.psnr, COUNTED_DB) for row in rows}


def _mean(psnr: dict[str, float], datasets: set[str]) -> float:
    return sum(psnr[name] for name in datasets) / len(datasets) if psnr and datasets else -math.inf
