"""The artifacts that ship, all built by one command, and checked against their checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from compress.against_teacher import Score, Scores
from core.checkpoint import Checkpoint
from core.config import network_config
from core.errors import ConfigError
from core.evaluation.evaluate import Derain
from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError
from edge_runtime.models.card import ModelCard, load_card
from edge_runtime.models.catalog import WEIGHTS, list_models
from export.artifact_card import load_described, make_card
from export.build import Built, build_onnx, build_tflite
from export.graph import Io, Precision, at_precision
from export.verify import verify

_MEASURED = {"quality", "teacher", "golden", "versions", "bytes", "sha256"}
"""Fields of a card that a rebuild elsewhere, or without data sets, may find otherwise."""


@dataclass(frozen=True)
class ReleasedModel:
    """Artifacts of one checkpoint in one format.

    Attributes:
        checkpoint: shipped name, or path.
        format: of the artifacts.
        precisions: one artifact for each.
        name: what the model is called; empty takes the checkpoint's name.
        step: one stage of a recurrent network instead of the whole.
        io: type of the pictures of int8 artifacts; others take float32.

    Raises:
        ConfigError: no precision.
    """

    checkpoint: str
    format: Literal["onnx", "tflite"]
    precisions: tuple[Precision, ...]
    name: str = ""
    step: bool = False
    io: Io = "float32"

    def __post_init__(self) -> None:
        if not self.precisions:
            raise ConfigError(f"precisions of {self.checkpoint} are none; name one, such as fp32")

    def io_at(self, precision: Precision) -> Io:
        """Return the type of the pictures of the artifact of that precision."""
        return self.io if precision == "int8" else "float32"


@dataclass(frozen=True)
class ReleaseConfig:
    """What ships.

    Attributes:
        models: in the order in which they are built.
        teacher: shipped name or path of the checkpoint that all are compared with when they are
            scored; empty compares with none.

    Raises:
        ConfigError: no model.
    """

    models: tuple[ReleasedModel, ...]
    teacher: str = ""

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("models are none; list checkpoint, format and precisions of each")

    def __len__(self) -> int:
        return sum(len(model.precisions) for model in self.models)


def build_release(
    config: ReleaseConfig, folder: Path = WEIGHTS, quality: Score | None = None
) -> Iterator[Built]:
    """Build every artifact into ``folder``, each replaced when it is verified, and yield it.

    Args:
        config: what to build.
        folder: made if it is missing. Artifacts in it that ``config`` does not list stay.
        quality: scores the artifacts. None keeps the scores of the artifact of the same name, if
            it has the same golden pair: computes the same to the last bit.

    Raises:
        EdgeDerainError: as ``build_onnx``; what was built before stays.
    """
    networks: dict[tuple[str, Precision], Scores] = {}
    for model in config.models:
        for precision in model.precisions:
            network = model.checkpoint, precision
            score = _Once(quality, networks, network) if quality else _Kept(folder)
            yield _build(model, precision, folder, score)


def check_release(config: ReleaseConfig, folder: Path = WEIGHTS) -> Iterator[tuple[str, list[str]]]:
    """Check that every artifact in ``folder`` computes what the checkpoint of its line does.

    Yields:
        The name of each artifact, and what is wrong with it or its card, in words; nothing where
        it is what would be built. Then those in ``folder`` that ``config`` does not list.

    Raises:
        CheckpointError, ExportError: a checkpoint that cannot be exported.
    """
    listed = set()
    for model in config.models:
        checkpoint = load_described(model.checkpoint)
        for precision in model.precisions:
            artifact = folder / f"{_name(model, checkpoint)}_{precision}.{model.format}"
            listed.add(artifact.name)
            yield artifact.name, _problems(artifact, model, at_precision(checkpoint, precision))
    for path, _ in list_models(folder):
        if path.name not in listed:
            yield path.name, ["is not listed"]


def _name(model: ReleasedModel, checkpoint: Checkpoint) -> str:
    return f"{model.name or checkpoint.name}{'_step' if model.step else ''}"


def _problems(artifact: Path, model: ReleasedModel, checkpoint: Checkpoint) -> list[str]:
    named = dataclasses.replace(checkpoint, name=_name(model, checkpoint))
    precision = cast("Precision", artifact.stem.rpartition("_")[2])
    wanted = _fields(
        make_card(
            named, model.format, precision=precision, io=model.io_at(precision), step=model.step
        )
    )
    try:
        card = load_card(artifact)
        verify(artifact, checkpoint)
    except EdgeDerainError as error:
        return [str(error)]
    changed = [name for name, value in _fields(card).items() if value != wanted[name]]
    return [f"its card has another {name}" for name in changed]


def _build(model: ReleasedModel, precision: Precision, folder: Path, quality: Score) -> Built:
    build = build_tflite if model.format == "tflite" else build_onnx
    return build(
        load_described(model.checkpoint),
        folder,
        precision=precision,
        io=model.io_at(precision),
        name=model.name,
        quality=quality,
        step=model.step,
        force=True,
    )


class _Once:
    """Scores every artifact, and the network that several of them are made of only once."""

    def __init__(
        self,
        quality: Score,
        networks: dict[tuple[str, Precision], Scores],
        network: tuple[str, Precision],
    ) -> None:
        self._quality, self._networks, self._network = quality, networks, network

    def __call__(self, derain: Derain, recipe: Sequence[str]) -> Scores:
        if isinstance(derain, Derainer):
            return self._quality(derain, recipe)
        if self._network not in self._networks:
            self._networks[self._network] = self._quality(derain, recipe)
        return self._networks[self._network]


class _Kept:
    """Scores an artifact with the scores of the one that it replaces, if that computes the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scores = Scores()

    def __call__(self, derain: Derain, recipe: Sequence[str]) -> Scores:
        if isinstance(derain, Derainer):  # otherwise it is the network that it was made of
            self._scores = self._kept(derain)
        return self._scores

    def _kept(self, built: Derainer) -> Scores:
        try:
            old = load_card(self._folder / built.model_path.name)
            same = old.golden is not None and old.golden == built.card.golden
        except EdgeDerainError:  # there is none, or it is damaged
            return Scores()
        return Scores(old.quality, old.teacher) if same else Scores()


def _fields(card: ModelCard) -> dict[str, Any]:
    # A card may be older than a field of the config, which then has its default.
    config = network_config(card.architecture, card.config)
    fields = {name: value for name, value in vars(card).items() if name not in _MEASURED}
    return {**fields, "config": config}
