"""Self-test: every artifact on its golden picture, to see that this machine computes it right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError, MissingExtraError
from edge_runtime.models.card import ModelCard, read_card
from edge_runtime.models.catalog import find_model, list_models
from edge_runtime.report.golden import GoldenResult, check_golden
from edge_runtime.terminal import aligned


@dataclass(frozen=True)
class Verdict:
    """What became of one artifact.

    Attributes:
        path: of the artifact.
        card: what it is.
        state: ``untested`` where its card has no golden pair or its engine is not installed.
        reason: in one line, why it failed or was not tested; empty where it passed.
        engine: name and version of the engine, and what executes in it; empty if it did not open.
        result: how far the derained picture is from the expected one; None if none was made.
    """

    path: Path
    card: ModelCard
    state: Literal["passed", "failed", "untested"]
    reason: str = ""
    engine: str = ""
    result: GoldenResult | None = None

    def record(self) -> dict[str, Any]:
        """Return it as JSON values; differences are in levels of 8 bits."""
        limits = self.result.limits if self.result else None
        return {
            "model": str(self.path),
            "name": self.card.name,
            "format": self.card.format,
            "precision": self.card.precision,
            "engine": self.engine,
            "state": self.state,
            "reason": self.reason,
            "identical": self.result.identical if self.result else None,
            "largest": self.result.largest if self.result else None,
            "largest_limit": limits.largest if limits else None,
            "rms": round(self.result.rms, 4) if self.result else None,
            "rms_limit": limits.rms if limits else None,
        }


def self_test(artifacts: Iterable[Path], threads: int | None = None) -> Iterator[Verdict]:
    """Test artifacts, one after another; one that cannot be opened does not stop the others.

    Raises:
        CardError: An artifact has no card or a malformed one.
    """
    for path in artifacts:
        yield _tested(path, read_card(path), threads)


def artifacts_of(model: str | None) -> list[Path]:
    """Return all artifacts that ``model`` stands for: a name in every precision and format.

    Args:
        model: Name or path as ``find_model`` takes it; None stands for all that ship.

    Raises:
        ModelNotFoundError: Nothing answers to it.
        CardError: A shipped artifact has no card or a malformed one.
    """
    shipped = list_models()
    if model is None:
        return [path for path, _ in shipped]
    named = [path for path, card in shipped if model in (card.name, path.stem)]
    return named or [find_model(model)]


def self_test_table(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the lines of a table of verdicts: a header, then one line each."""
    rows = [("artifact", "engine", "result", "largest", "rms")]
    rows += [_row(verdict) for verdict in verdicts]
    return aligned(rows)


def _tested(path: Path, card: ModelCard, threads: int | None) -> Verdict:
    engine = ""
    try:
        with Derainer.load(path, threads=threads, tile=0) as derainer:
            engine = f"{derainer.session.name} {derainer.session.provider}"
            result = check_golden(derainer)
    except MissingExtraError as error:
        return Verdict(path, card, "untested", str(error))
    except EdgeDerainError as error:
        return Verdict(path, card, "failed", str(error), engine)
    if not result.tested:
        reason = f"{path}: its card has no golden pair; export it again"
        return Verdict(path, card, "untested", reason, engine)
    if result.passed:
        return Verdict(path, card, "passed", "", engine, result)
    limits = result.limits
    reason = (
        f"{path}: computes something else than it should: differs by up to {result.largest} levels "
        f"and {result.rms:.2f} rms, allowed are {limits.largest} and {limits.rms:g}; install "
        "another version of the engine, or use another precision"
    )
    return Verdict(path, card, "failed", reason, engine, result)


def _row(verdict: Verdict) -> tuple[str, str, str, str, str]:
    result = verdict.result
    if result is None:
        return (verdict.path.name, verdict.engine or "-", verdict.state, "-", "-")
    said = "identical" if result.identical else verdict.state
    return (
        verdict.path.name,
        verdict.engine,
        said,
        f"{result.largest} of {result.limits.largest}",
        f"{result.rms:.3f} of {result.limits.rms:g}",
    )
