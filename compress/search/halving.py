"""Successive halving: many candidates for a short time, the better ones for longer.

K. Jamieson and A. Talwalkar, Non-stochastic best arm identification and hyperparameter
optimization, AISTATS 2016 (arXiv:1502.07943), figure 3, with a factor of the caller's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One round.

    Attributes:
        candidates: how many take part.
        steps: optimizer steps that each has had at its end, earlier rungs included.
    """

    candidates: int
    steps: int


def rungs(count: int, first: int, factor: int, rounds: int, least: int) -> tuple[Rung, ...]:
    """Plan the rounds: each has ``factor`` times the steps, and that part of the candidates.

    Args:
        count: candidates at the beginning.
        first: steps of the first round.
        factor: at least 2.
        rounds: at least 1.
        least: candidates that stay to the end, if there are as many.
    """
    planned = []
    for number in range(rounds):
        planned.append(Rung(count, first * factor**number))
        count = min(count, max(least, count // factor))
    return tuple(planned)


def survivors(scores: Mapping[str, float], count: int) -> tuple[str, ...]:
    """Return the names of the ``count`` best, best first; of equals, those that came first."""
    return tuple(sorted(scores, key=lambda name: -scores[name])[:count])
