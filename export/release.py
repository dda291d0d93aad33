"""Build all artifacts that ship, and tell whether those that ship are the ones that it builds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compress.against_teacher import Score, Scores
from core.config import network_config
from core.errors import ConfigError
from core.evaluation.evaluate import Derain
from edge_runtime.derainer import Derainer
from edge_runtime.errors import EdgeDerainError
from edge_runtime.models.card import ModelCard, load_card
from edge_runtime.models.catalog import WEIGHTS, list_models
from export.artifact_card import load_described
from export.build import Built, build_onnx, build_tflite
from export.precision import Precision
from export.sameness import difference

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

    Raises:
        ConfigError: no precision.
    """

    checkpoint: str
    format: Literal["onnx", "tflite"]
    precisions: tuple[Precision, ...]
    name: str = ""
    step: bool = False

    def __post_init__(self) -> None:
        if not self.precisions:
            raise ConfigError(f"precisions of {self.checkpoint} are none; name one, such as fp32")


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
            it holds the same graph and weights.

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
    """Build every artifact elsewhere and compare it with the one in ``folder``.

    Yields:
        The name of each artifact, and what differs from the one that was built, in words; nothing
        where they are the same. Then those in ``folder`` that ``config`` does not list.

    Raises:
        EdgeDerainError: as ``build_onnx``.
    """
    listed = set()
    with tempfile.TemporaryDirectory() as scratch:
        for built in build_release(config, Path(scratch)):
            listed.add(built.artifact.name)
            yield built.artifact.name, _differences(folder / built.artifact.name, built)
    for path, _ in list_models(folder):
        if path.name not in listed:
            yield path.name, ["is not listed"]


def _build(model: ReleasedModel, precision: Precision, folder: Path, quality: Score) -> Built:
    build = build_tflite if model.format == "tflite" else build_onnx
    return build(
        load_described(model.checkpoint),
        folder,
        precision=precision,
        name=model.name,
        quality=quality,
        step=model.step,
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
    """Scores an artifact with the scores of the one that it replaces, if that is the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scores = Scores()

    def __call__(self, derain: Derain, recipe: Sequence[str]) -> Scores:
        if isinstance(derain, Derainer):  # otherwise it is the network that it was made of
            self._scores = self._kept(derain.model_path)
        return self._scores

    def _kept(self, built: Path) -> Scores:
        old = self._folder / built.name
        try:
            card = load_card(old)
            return Scores() if difference(old, built) else Scores(card.quality, card.teacher)
        except EdgeDerainError:  # there is none, or it is damaged
            return Scores()


def _differences(shipped: Path, built: Built) -> list[str]:
    try:
        card = load_card(shipped)
        found = difference(shipped, built.artifact)
        fields = _fields(built.card)
        changed = [name for name, value in _fields(card).items() if value != fields[name]]
    except EdgeDerainError as error:
        return [str(error)]
    differing = [f"{found} differ from what is built"] if found else []
    return [*differing, *[f"its card has another {name}" for name in changed]]


def _fields(card: ModelCard) -> dict[str, Any]:
    # A card may be older than a field of the config, which then has its default.
    config = network_config(card.architecture, card.config)
    fields = {name: value for name, value in vars(card).items() if name not in _MEASURED}
    return {**fields, "config": config}
