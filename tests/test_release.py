"""What ships is one thing: config, checkpoint and artifact belong together."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from compress.distill import DistillConfig
from compress.recipe import AverageConfig, QuantizeConfig, Step, read_recipe
from core.checkpoint import find_checkpoint, load_checkpoint
from core.config import load_config, network_config
from core.train_config import TrainConfig
from edge_runtime.card import ModelCard
from edge_runtime.models import list_models
from export.release import ReleaseConfig, check_release
from export.verify import verify

CONFIGS = Path(__file__).parent.parent / "configs"
EARLIER_TEACHER = "800af0206ebd2769756f0b548212fe125960e4df7134ae788e73d14276a9d7e3"
"""That of ``gan_lstm`` before configs/gan_lstm_muon.yaml, of which base learned."""
MODELS = [pytest.param(path, card, id=path.stem) for path, card in list_models()]


@pytest.mark.parametrize(("artifact", "card"), MODELS)
def test_artifacts_compute_what_their_checkpoints_do(artifact: Path, card: ModelCard) -> None:
    suffix = "_int8" if card.precision == "int8" else ""
    checkpoint = load_checkpoint(f"{card.name}{suffix}")
    assert verify(artifact, checkpoint)
    assert card.recipe[: len(checkpoint.recipe)] == checkpoint.recipe
    assert card.data == checkpoint.data


def test_what_ships_is_what_the_release_config_builds() -> None:
    config = load_config(ReleaseConfig, CONFIGS / "release.yaml")
    found = dict(check_release(config))
    assert {name: problems for name, problems in found.items() if problems} == {}
    assert sorted(found) == sorted(path.name for path, _ in list_models())


@pytest.mark.parametrize(
    ("name", "file", "teacher"),
    [
        ("base", "student_base", f"gan_lstm sha256 {EARLIER_TEACHER}"),
    ],
)
def test_a_config_says_how_every_shipped_model_was_trained(
    name: str, file: str, teacher: str
) -> None:
    config = load_config(TrainConfig, CONFIGS / f"{file}.yaml")
    assert (config.name, config.architecture) == (name, "student")
    checkpoint = load_checkpoint(name)
    trained = network_config(config.architecture, config.network)
    widths = checkpoint.config.widths
    narrow = dataclasses.replace(checkpoint.config, encoder_inner=(), decoder_inner=())
    assert dataclasses.replace(narrow, widths=trained.widths) == trained
    assert all(now <= then for now, then in zip(widths, trained.widths, strict=True))
    assert any(f"{config.steps} of {config.steps} steps" in line for line in checkpoint.recipe)
    assert any(f"teacher {teacher}" in line for line in checkpoint.recipe)
    quantized = load_checkpoint(f"{name}_int8")
    assert quantized.config == checkpoint.config
    assert quantized.recipe[: len(checkpoint.recipe)] == checkpoint.recipe


@pytest.mark.parametrize(
    ("name", "file"), [("gan_lstm", "gan_lstm_longer"), ("gan_lstm_gan", "gan_lstm_gan")]
)
def test_a_config_says_how_the_teacher_was_trained_last(name: str, file: str) -> None:
    config = load_config(TrainConfig, CONFIGS / f"{file}.yaml")
    checkpoint = load_checkpoint(name)
    assert checkpoint.name == name
    assert network_config(config.architecture, config.network) == checkpoint.config
    assert _done(config, config.steps) in checkpoint.recipe[-1]


@pytest.mark.parametrize("name", ["base"])
def test_a_recipe_ends_as_the_student_that_ships_was_made(name: str) -> None:
    *_, alone, taught, mean, quantized = read_recipe(CONFIGS / f"recipe_{name}.yaml").steps
    assert [step.kind for step in (alone, taught, mean)] == ["train", "distill", "average"]
    before, after, mixed = load_checkpoint(name).recipe[-3:]
    assert _done(alone.training, alone.training.steps) in before
    assert _done(taught.training, taught.training.steps) in after
    sha256 = hashlib.sha256(find_checkpoint(taught.training.teacher).read_bytes()).hexdigest()
    options = taught.training.distill
    assert f"teacher gan_lstm sha256 {sha256}, views {options.views}, " in after
    assert after.endswith(f", {options.pieces} pieces, bounded")
    assert isinstance(mean.options, AverageConfig)
    share = mean.options.share
    assert mixed == f"average: {1 - share:g} of {name} ({before}), {share:g} of {name} ({after})"
    assert isinstance(quantized.options, QuantizeConfig)
    floats = ", ".join(quantized.options.keep_float)
    assert load_checkpoint(f"{name}_int8").recipe[-1].endswith(f"{floats} in float")


def test_the_config_of_a_last_training_is_the_step_of_the_recipe() -> None:
    config = load_config(DistillConfig, CONFIGS / "taught_large.yaml")
    mixture = dataclasses.replace(config.mixture, enlarge=0.12)
    wanted = dataclasses.replace(config, steps=4500, mixture=mixture)
    taught = read_recipe(CONFIGS / "recipe_base.yaml").steps[-3].training
    for key in ("loss", "distill", "optimizer", "mixture", "steps", "learning_rate"):
        assert getattr(taught, key) == getattr(wanted, key), key


@pytest.mark.parametrize("name", ["nano", "small"])
def test_a_recipe_made_the_student_that_ships(name: str) -> None:
    steps = read_recipe(CONFIGS / f"recipe_{name}.yaml").steps
    checkpoint, quantized = load_checkpoint(name), load_checkpoint(f"{name}_int8")
    first = steps[0].training
    built = network_config(first.architecture, first.network)
    assert built == checkpoint.config == quantized.config
    wanted = list(_start(first, built))
    for step in steps:
        if isinstance(step.options, QuantizeConfig):
            _compare(checkpoint.recipe, wanted)
        wanted += _lines(step)
    _compare(quantized.recipe, wanted)


def _start(first: TrainConfig, built: Any) -> Iterator[str]:
    """Patterns of what is on the card of the network that a recipe starts from, and of growing."""
    if first.init:
        start = load_checkpoint(first.init)
        yield from (re.escape(line) for line in start.recipe)
        if start.config != built:
            widths = f"{list(start.config.widths)} to {list(built.widths)}"
            yield re.escape(f"grow: widths {widths}, seed {first.seed}")


def _lines(step: Step) -> list[str]:
    """Patterns of what a step writes on the card, one for each line."""
    config = step.training
    trained = rf"train: student from \w+, {_done(config, config.steps)}, [\w-]+, seed {config.seed}"
    if step.kind == "train":
        return [trained]
    assert isinstance(step.options, QuantizeConfig)
    options = step.options
    floats = f"quantize: {', '.join(options.keep_float)} in float"
    return [
        f"quantize: {options.scheme}, {options.method} of {options.crops} crops",
        *([re.escape(floats)] if options.keep_float else []),
        *([trained] if options.qat else []),
    ]


def _compare(lines: Sequence[str], patterns: Sequence[str]) -> None:
    """Every line matches its pattern, and there are as many of both."""
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"


def _done(config: TrainConfig, steps: int) -> str:
    crop = config.mixture.crop
    return f"{steps} of {steps} steps of {config.batch_size} x {crop} x {crop}"
