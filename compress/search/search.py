"""Search for a student within a budget: size, pruning and precision, by successive halving."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from compress.distill import DistillConfig
from compress.footprint import artifact_bytes
from compress.recipe.pipeline import Finished, Pipeline, Say
from compress.recipe.plan import macs_of_a_step, start_of
from compress.recipe.recipe import build_recipe
from compress.recipe.scores import mean_score
from compress.recipe.speed import training_speed
from compress.search.candidates import Budget, Candidate, find_candidates
from compress.search.config import SearchConfig
from compress.search.halving import Rung, rungs, survivors
from core.checkpoint import load_checkpoint
from core.config import build_config, to_plain
from core.errors import ConfigError
from core.training.train import TrainResult
from edge_runtime.files import write_atomically


@dataclass(frozen=True)
class Tried:
    """A candidate, and what it came to in the last round that it took part in.

    Attributes:
        candidate: what it is.
        round: counted from 1.
        score: in dB, of training: mean rgb PSNR over the validation sets.
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

    def training_macs(self) -> float:
        """Return about the multiply-accumulates of all training, if the costliest go farthest."""
        macs = {candidate.network: candidate.macs_before for candidate in self.candidates}
        distill = sorted(
            (macs_of_a_step(self.training, each) for each in macs.values()), reverse=True
        )
        alone = replace(self.training, teacher="")
        prune = max(macs_of_a_step(alone, each, each) for each in macs.values())
        total, before = 0.0, 0
        for rung in self.rungs:
            pruned = min(rung.candidates, len({c.pruned for c in self.candidates if c.prunes}))
            total += sum(distill[: rung.candidates]) * (rung.steps - before)
            total += pruned * prune * self._config.finetune * rung.steps
            before = rung.steps
        return total

    def training_speed(self) -> float:
        """Return the multiply-accumulates per second of its first network, timed now."""
        network = self.candidates[0].network
        recipe = build_recipe(self._with_network(network, [{self._kind: {}}]))
        return training_speed(start_of(recipe), self.training)

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
                say(f"round {number}: {name}: {ended.score:.2f} dB")
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
        net = load_checkpoint(done.checkpoint).unquantized().build()
        card = done.card
        size = artifact_bytes(net, candidate.precision)
        score = mean_score(card.quality)
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
            f"# Found by compress search: {chosen.candidate.name}, {chosen.score:.2f} dB after the "
            f"{self.rungs[-1].steps} steps of the search.\n"
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

    def beats(one: Tried, other: Tried) -> bool:
        a, b = (-one.score, one.bytes, one.macs), (-other.score, other.bytes, other.macs)
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    last = _last_round(tried)
    return frozenset(
        each.candidate.name for each in last if not any(beats(other, each) for other in last)
    )


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
