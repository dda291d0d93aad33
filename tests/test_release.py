"""What ships is one thing: config, checkpoint and artifact belong together."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from compress.distill import DistillConfig
from compress.recipe import read_recipe
from core.checkpoint import find_checkpoint, load_checkpoint
from core.config import load_config, network_config
from core.train_config import TrainConfig
from edge_runtime.card import ModelCard
from edge_runtime.models import list_models
from export.release import ReleaseConfig, check_release
from export.verify import verify

CONFIGS = Path(__file__).parent.parent / "configs"
EARLIER_TEACHER = "800af0206ebd2769756f0b548212fe125960e4df7134ae788e73d14276a9d7e3"
"""That of ``gan_lstm`` before configs/gan_lstm_muon.yaml, of which small and base learned."""
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
        ("small", "student_small_finetune", f"gan_lstm sha256 {EARLIER_TEACHER}"),
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


@pytest.mark.parametrize(("name", "line", "steps"), [("small", -3, 7000), ("base", -1, 5000)])
def test_a_config_says_how_students_were_trained_for_psnr(name: str, line: int, steps: int) -> None:
    config = load_config(TrainConfig, CONFIGS / "student_small_psnr.yaml")
    assert _done(config, steps) in load_checkpoint(name).recipe[line]


def test_small_is_the_mean_of_before_and_after_the_teacher_that_ships() -> None:
    config = load_config(DistillConfig, CONFIGS / "taught_large.yaml")
    before, taught, mean = load_checkpoint("small").recipe[-3:]
    assert _done(config, config.steps) in taught
    sha256 = hashlib.sha256(find_checkpoint("gan_lstm").read_bytes()).hexdigest()
    assert f"teacher gan_lstm sha256 {sha256}, views {config.distill.views}, " in taught
    assert taught.endswith(f", {config.distill.pieces} pieces, bounded")
    assert mean == f"average: 0.5 of small ({before}), 0.5 of small ({taught})"


def test_a_recipe_made_nano() -> None:
    recipe = read_recipe(CONFIGS / "recipe_nano.yaml")
    trained = recipe.steps[0].training
    checkpoint = load_checkpoint("nano")
    assert network_config(trained.architecture, trained.network) == checkpoint.config
    [line] = checkpoint.recipe
    assert _done(trained, trained.steps) in line


def _done(config: TrainConfig, steps: int) -> str:
    crop = config.mixture.crop
    return f"{steps} of {steps} steps of {config.batch_size} x {crop} x {crop}"
