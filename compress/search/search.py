"""The search for a student that is fast in integers, by successive halving.

Times are measured before any training. Then many candidates are trained for a short time, the
better ones for longer: K. Jamieson and A. Talwalkar, Non-stochastic best arm identification and
hyperparameter optimization, AISTATS 2016 (arXiv:1502.07943), figure 3, with a factor of the
caller's choice.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from compress.cost import checkpoint_bytes, macs_per_pixel
from compress.distillation import DistillConfig
from compress.pareto import unbeaten
from compress.recipe.pipeline import Pipeline, Say
from compress.recipe.recipe import build_recipe
from compress.search.config import SearchConfig
from compress.search.times import Times, measure_times
from core.checkpoint import load_checkpoint
from core.config import build_config, network_config
from core.errors import ConfigError
from core.evaluation.score import row_means, validation_score
from core.networks import ARCHITECTURES
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
        name: of its network among those of the search.
        round: counted from 1.
        score: of the int8 network, in dB: :func:`core.evaluation.score.validation_score`.
        parameters: of the network, ``macs`` per pixel, and ``bytes`` of its int8 ONNX file, about.
        times: of its artifacts.
    """

    name: str
    round: int
    score: float
    parameters: int
    macs: float
    bytes: int
    times: Times


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
        ConfigError: values that are no training options, or a network that does not exist.
    """

    def __init__(
        self, values: Mapping[str, Any], config: SearchConfig, work: Path, progress: bool = True
    ) -> None:
        if values.get("init"):
            raise ConfigError(f"init {values['init']}: a search begins anew; leave it out")
        self._values = {key: value for key, value in values.items() if key != "network"}
        self._config, self._work, self._progress = config, work, progress
        self.training = build_config(DistillConfig, self._values, "config")
        self.networks: dict[str, Any] = {}
        for name, fields in config.networks.items():
            try:
                self.networks[name] = network_config(self.training.architecture, fields)
            except ConfigError as error:
                raise ConfigError(f"search.networks.{name}: {error}") from error
        build_recipe(self.recipe_of(name))  # what is wrong with the options shows at once
        self.rungs = rungs(
            len(self.networks), config.first, config.factor, config.rounds, config.finalists
        )

    def recipe_of(self, name: str) -> dict[str, Any]:
        """Return the recipe that makes a candidate in full length, as plain values."""
        plain: dict[str, Any] = to_plain(self._recipe(name, {}, "auto"))
        return plain

    def run(self, out: Path, say: Say = lambda line: None) -> Found:
        """Search, or go on with it; finished runs and measured times count as they are.

        Args:
            out: file for the recipe of what is chosen.
            say: is told what begins, in one line.

        Raises:
            ConfigError: no candidate is fast enough; names the fastest.
            EdgeDerainError: as :meth:`compress.recipe.pipeline.Pipeline.run`.
        """
        say(f"times of {len(self.networks)} candidates")
        times = self._times()
        alive = list(times)
        tried: dict[str, Tried] = {}
        planned = rungs(
            len(alive),
            self._config.first,
            self._config.factor,
            self._config.rounds,
            self._config.finalists,
        )
        for number, rung in enumerate(planned, 1):
            if number > 1:
                alive = list(survivors({n: tried[n].score for n in alive}, rung.candidates))
            say(f"round {number} of {len(planned)}: {len(alive)} candidates, {rung.steps} steps")
            for name in alive:
                ended = self._try(name, number, planned, times[name])
                if isinstance(ended, TrainResult):
                    return Found(_ranked(tried), stopped=ended)
                tried[name] = ended
                say(f"round {number}: {name}: {ended.score:+.2f} dB")
        ranked = _ranked(tried)
        chosen = choose(ranked, self._config.max_drop)
        self._write(out, chosen, planned[-1].steps)
        return Found(ranked, chosen, out)

    def _times(self) -> dict[str, Times]:
        """Measure, or read what was measured of these networks, and leave out what is too slow."""
        place = self._work / "times.json"
        networks = {name: to_plain(config) for name, config in self.networks.items()}
        known = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
        if known.get("networks") != json.loads(json.dumps(networks)):
            measured = measure_times(self.training.architecture, self.networks)
            known = {"networks": networks}
            known["times"] = {name: dataclasses.asdict(each) for name, each in measured.items()}
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, json.dumps(known, indent=2).encode())
        times = {name: Times(**fields) for name, fields in known["times"].items()}
        most = self._config.max_ms
        fast = {name: each for name, each in times.items() if each.slowest_int8 <= (most or 1e9)}
        if not fast:
            name = min(times, key=lambda name: times[name].slowest_int8)
            raise ConfigError(
                f"max_ms {most:g}: no candidate is as fast in int8 in both engines; the fastest is "
                f"{name} with {times[name].slowest_int8:g} ms"
            )
        return fast

    def _try(
        self, name: str, number: int, planned: Sequence[Rung], times: Times
    ) -> Tried | TrainResult:
        before = planned[number - 2].steps if number > 1 else 0
        steps = planned[number - 1].steps - before
        options: dict[str, Any] = {"steps": steps, "validate_every": steps}
        if number > 1:
            earlier = self._work / f"round{number - 1}" / name / f"1_{self._kind}.safetensors"
            options["init"] = str(earlier.resolve())
        recipe = build_recipe(self._recipe(name, options, "minmax"))
        place = self._work / f"round{number}" / name
        outcome = Pipeline(recipe, place, self._work, self._progress).run()
        if outcome.stopped:
            return outcome.stopped
        done = outcome.finished[-1]
        size = checkpoint_bytes(load_checkpoint(done.checkpoint))
        card = done.card
        score = validation_score(row_means(card.quality), self.training.validation)
        return Tried(name, number, score, card.parameters, card.macs_per_pixel, size, times)

    @property
    def _kind(self) -> str:
        return "distill" if self.training.teacher else "train"

    def _recipe(self, name: str, options: dict[str, Any], method: str) -> dict[str, Any]:
        """Return the recipe of a training with ``options``, and of int8 after it."""
        int8 = {"scheme": "int8", "method": method, "crops": self._config.crops}
        steps = [{self._kind: options}, {"quantize": int8}]
        return {**self._values, "network": self._config.networks[name], "recipe": steps}

    def _write(self, out: Path, chosen: Tried, steps: int) -> None:
        text = (
            f"# Found by compress search: {chosen.name}, {chosen.score:+.2f} dB in int8 after the "
            f"{steps} steps of the search.\n"
        )
        text += yaml.safe_dump(self.recipe_of(chosen.name), sort_keys=False)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, text.encode())
        except OSError as error:
            raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error


def choose(tried: Sequence[Tried], max_drop: float) -> Tried:
    """Take the fastest in int8 of those in the last round within ``max_drop`` dB of its best."""
    among = _last_round(tried)
    best = max(each.score for each in among)
    within = [each for each in among if best - each.score <= max_drop]
    return min(within, key=lambda each: (each.times.slowest_int8, -each.score))


def pareto(tried: Sequence[Tried]) -> frozenset[str]:
    """Name the candidates of the last round that no other beats in score and int8 times at once.

    To beat is to be at least as good in score and in either engine, and not equal in all.
    """
    last = _last_round(tried)
    costs = [(-each.score, each.times.onnx_int8, each.times.tflite_int8) for each in last]
    return frozenset(last[index].name for index in unbeaten(costs))


def _last_round(tried: Sequence[Tried]) -> list[Tried]:
    last = max(each.round for each in tried)
    return [each for each in tried if each.round == last]


def _ranked(tried: Mapping[str, Tried]) -> tuple[Tried, ...]:
    return tuple(sorted(tried.values(), key=lambda each: (-each.round, -each.score)))


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


def candidate_rows(architecture: str, networks: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Lay out candidates and what is known of them beforehand."""
    rows: list[tuple[str, ...]] = [("candidate", "parameters", "kMAC/pixel")]
    for name, config in networks.items():
        net = ARCHITECTURES[architecture].module(config)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        macs = macs_per_pixel(net, config.size_multiple)
        rows.append((name, f"{parameters:,}", f"{macs / 1000:.3f}"))
    return rows


def tried_rows(found: Found) -> list[tuple[str, ...]]:
    """Lay out what each candidate came to, the chosen one and those of the Pareto front marked."""
    front = pareto(found.tried)
    engines = [field.name.replace("_", " ") + " ms" for field in dataclasses.fields(Times)]
    rows: list[tuple[str, ...]] = [
        ("", "candidate", "round", "score", "parameters", "kMAC/pixel", "int8 kB", *engines)
    ]
    for each in found.tried:
        mark = "chosen" if each == found.chosen else "pareto" if each.name in front else ""
        rows.append(
            (
                mark,
                each.name,
                str(each.round),
                f"{each.score:+.2f}",
                f"{each.parameters:,}",
                f"{each.macs / 1000:.3f}",
                f"{each.bytes / 1000:.1f}",
                *(f"{value:.1f}" for value in dataclasses.astuple(each.times)),
            )
        )
    return rows
