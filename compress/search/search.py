"""The search for a student within a budget, by successive halving.

Many candidates are trained for a short time, the better ones for longer: K. Jamieson and
A. Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, AISTATS 2016
(arXiv:1502.07943), figure 3, with a factor of the caller's choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from compress.cost import checkpoint_bytes
from compress.distillation import DistillConfig
from compress.pareto import unbeaten
from compress.recipe.pipeline import Finished, Pipeline, Say
from compress.recipe.recipe import build_recipe
from compress.search.candidates import Budget, Candidate, find_candidates
from compress.search.config import SearchConfig
from core.checkpoint import load_checkpoint
from core.config import build_config
from core.errors import ConfigError
from core.evaluation.score import row_means, validation_score
from core.training.train import TrainResult
from edge_runtime.files import write_atomically
from edge_runtime.models.records import to_plain


@dataclass(frozen=True)
class Rung:
    """One round.

    Attributes:
        candidates: how many take part.
        steps: optimizer steps that each has had at its end, earlier rungs included.
    """

    candidates: int
    steps: int


@dataclass(frozen=True)
class Tried:
    """A candidate, and what it came to in the last round that it took part in.

    Attributes:
        candidate: what it is.
        round: counted from 1.
        score: in dB, of training: :func:`core.evaluation.score.validation_score`.
        parameters: of the pruned network, ``macs`` per pixel, and ``bytes`` of its ONNX file,
            about.
    """

    candidate: Candidate
    round: int
    score: float
    parameters: int
    macs: float
    bytes: int


@dataclass(frozen=True)
class Found:
    """How a search ended.

    Attributes:
        tried: all candidates, those that came farthest first, by score.
        chosen: one of them, None where a signal stopped the search.
        recipe: file that makes it in full length, None likewise.
        stopped: how the training ended that a signal stopped.
    """

    tried: tuple[Tried, ...]
    chosen: Tried | None = None
    recipe: Path | None = None
    stopped: TrainResult | None = None


class Search:
    """A search and its folder, in which every short run is a recipe of its own that resumes.

    Args:
        values: training options that all runs share, as a file of ``configs`` holds them; its
            ``steps`` are those of the recipe in the end, ``teacher`` may be missing.
        config: what to search through.
        work: folder for all that comes of it.
        progress: show bars on standard error.

    Raises:
        ConfigError: values that are no training options, or no candidate that fits.
    """

    def __init__(
        self, values: Mapping[str, Any], config: SearchConfig, work: Path, progress: bool = True
    ) -> None:
        if values.get("init"):
            raise ConfigError(f"init {values['init']}: a search begins anew; leave it out")
        self._values = {key: value for key, value in values.items() if key != "network"}
        self._config, self._work, self._progress = config, work, progress
        self.training = build_config(DistillConfig, self._values, "config")
        self.candidates = find_candidates(
            self.training.architecture,
            config.networks,
            config.keep,
            config.precisions,
            Budget(config.max_bytes, config.max_macs),
        )
        self.rungs = rungs(
            len(self.candidates), config.first, config.factor, config.rounds, config.finalists
        )
        for candidate in self.candidates:  # what is wrong with the options shows before any work
            build_recipe(self.recipe_of(candidate))

    def recipe_of(self, candidate: Candidate) -> dict[str, Any]:
        """Return the recipe that makes a candidate in full length, as plain values."""
        steps = [{self._kind: {}}, *self._prunes(candidate, self.training.steps)]
        values = self._with_network(candidate.network, [*steps, *self._quantize(candidate, "auto")])
        plain: dict[str, Any] = to_plain(values)
        return plain

    def run(self, out: Path, say: Say = lambda line: None) -> Found:
        """Search, or go on with it; finished runs count as they are.

        Args:
            out: file for the recipe of what is chosen.
            say: is told what begins, in one line.

        Raises:
            EdgeDerainError: as :meth:`compress.recipe.pipeline.Pipeline.run`.
        """
        alive = {candidate.name: candidate for candidate in self.candidates}
        tried: dict[str, Tried] = {}
        for number, rung in enumerate(self.rungs, 1):
            if number > 1:
                scores = {name: tried[name].score for name in alive}
                alive = {name: alive[name] for name in survivors(scores, rung.candidates)}
            say(f"round {number} of {len(self.rungs)}: {len(alive)} candidates, {rung.steps} steps")
            for name, candidate in alive.items():
                ended = self._try(candidate, number, rung)
                if isinstance(ended, TrainResult):
                    return Found(_ranked(tried), stopped=ended)
                tried[name] = ended
                say(f"round {number}: {name}: {ended.score:+.2f} dB")
        ranked = _ranked(tried)
        chosen = choose(ranked, self._config.max_drop)
        self._write(out, chosen)
        return Found(ranked, chosen, out)

    def _try(self, candidate: Candidate, number: int, rung: Rung) -> Tried | TrainResult:
        before = self.rungs[number - 2].steps if number > 1 else 0
        work, steps = self._work / f"round{number}", rung.steps - before
        options: dict[str, Any] = {"steps": steps, "validate_every": steps}
        if number > 1:
            earlier = self._work / f"round{number - 1}" / candidate.network
            options["init"] = str((earlier / f"1_{self._kind}.safetensors").resolve())
        runs: list[tuple[str, list[dict[str, Any]]]] = [
            (candidate.network, [{self._kind: options}]),
            (candidate.pruned, self._prunes(candidate, rung.steps)),
            (candidate.name, self._quantize(candidate, "minmax")),
        ]
        done: Finished | None = None
        for name, listed in runs:
            if not listed:
                continue
            values = self._with_network(candidate.network, listed)
            if done:
                values["checkpoint"] = str(done.checkpoint.resolve())
            outcome = Pipeline(build_recipe(values), work / name, self._work, self._progress).run()
            if outcome.stopped:
                return outcome.stopped
            done = outcome.finished[-1]
        if done is None:
            raise ConfigError(f"{candidate.name}: has no steps")
        card = done.card
        size = checkpoint_bytes(load_checkpoint(done.checkpoint))
        score = validation_score(row_means(card.quality), self.training.validation)
        return Tried(candidate, number, score, card.parameters, card.macs_per_pixel, size)

    @property
    def _kind(self) -> str:
        return "distill" if self.training.teacher else "train"

    def _with_network(self, name: str, listed: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._values, "network": self._config.networks[name], "recipe": listed}

    def _prunes(self, candidate: Candidate, steps: int) -> list[dict[str, Any]]:
        after = max(1, round(self._config.finetune * steps))
        return [
            {"prune": {**_set_fields(prune), "steps": after, "validate_every": after}}
            for prune in candidate.prunes
        ]

    def _quantize(self, candidate: Candidate, method: str) -> list[dict[str, Any]]:
        if candidate.precision == "fp32":
            return []
        options: dict[str, Any] = {"scheme": candidate.precision}
        if candidate.precision == "int8":
            options.update(method=method, crops=self._config.crops)
        return [{"quantize": options}]

    def _write(self, out: Path, chosen: Tried) -> None:
        text = (
            f"# Found by compress search: {chosen.candidate.name}, {chosen.score:+.2f} dB after "
            f"the {self.rungs[-1].steps} steps of the search.\n"
        )
        text += yaml.safe_dump(self.recipe_of(chosen.candidate), sort_keys=False)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, text.encode())
        except OSError as error:
            raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error


def choose(tried: Sequence[Tried], max_drop: float) -> Tried:
    """Take the smallest file of those in the last round within ``max_drop`` dB of its best."""
    among = _last_round(tried)
    best = max(each.score for each in among)
    within = [each for each in among if best - each.score <= max_drop]
    return min(within, key=lambda each: (each.bytes, each.macs, -each.score))


def pareto(tried: Sequence[Tried]) -> frozenset[str]:
    """Name the candidates of the last round that no other beats in score, bytes and MACs at once.

    To beat is to be at least as good in all three, and not equal in all.
    """
    last = _last_round(tried)
    front = unbeaten([(-each.score, each.bytes, each.macs) for each in last])
    return frozenset(last[index].candidate.name for index in front)


def _last_round(tried: Sequence[Tried]) -> list[Tried]:
    last = max(each.round for each in tried)
    return [each for each in tried if each.round == last]


def _ranked(tried: Mapping[str, Tried]) -> tuple[Tried, ...]:
    return tuple(sorted(tried.values(), key=lambda each: (-each.round, -each.score)))


def _set_fields(config: Any) -> dict[str, Any]:
    """Return the fields of a config that differ from their defaults."""
    plain = to_plain(config)
    return {
        f.name: plain[f.name]
        for f in dataclasses.fields(config)
        if getattr(config, f.name) != f.default
    }


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


def candidate_rows(candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """Lay out candidates and the most that each may cost."""
    rows: list[tuple[str, ...]] = [
        ("candidate", "precision", "parameters at most", "kMAC/pixel at most", "ONNX kB at most")
    ]
    for each in candidates:
        cost = (f"{each.parameters:,}", f"{each.macs / 1000:.3f}", f"{each.bytes / 1000:.1f}")
        rows.append((each.pruned, each.precision, *cost))
    return rows


def tried_rows(found: Found) -> list[tuple[str, ...]]:
    """Lay out what each candidate came to, the chosen one and those of the Pareto front marked."""
    front = pareto(found.tried)
    rows: list[tuple[str, ...]] = [
        (
            "",
            "candidate",
            "precision",
            "round",
            "score",
            "drop",
            "parameters",
            "kMAC/pixel",
            "ONNX kB",
        )
    ]
    best = {
        each.round: max(t.score for t in found.tried if t.round == each.round)
        for each in found.tried
    }
    for each in found.tried:
        mark = (
            "chosen" if each == found.chosen else "pareto" if each.candidate.name in front else ""
        )
        rows.append(
            (
                mark,
                each.candidate.pruned,
                each.candidate.precision,
                str(each.round),
                f"{each.score:+.2f}",
                f"{best[each.round] - each.score:.2f}",
                f"{each.parameters:,}",
                f"{each.macs / 1000:.3f}",
                f"{each.bytes / 1000:.1f}",
            )
        )
    return rows
