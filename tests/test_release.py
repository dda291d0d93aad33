"""What ships is one thing: config, checkpoint and artifact belong together."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from compress.quantization.quantize import QuantizeConfig
from compress.recipe.recipe import Step, read_recipe
from core.checkpoint import load_checkpoint
from core.config import load_config, network_config
from core.training.config import TrainConfig
from edge_runtime.models.catalog import list_models
from export.release import ReleaseConfig, ReleasedModel, check_release

CONFIGS = Path(__file__).parent.parent / "configs"
RELEASE = load_config(ReleaseConfig, CONFIGS / "release.yaml")


@pytest.mark.parametrize("model", RELEASE.models, ids=lambda m: f"{m.checkpoint}-{m.format}")
def test_artifacts_compute_what_their_checkpoints_do(model: ReleasedModel) -> None:
    found = dict(check_release(ReleaseConfig((model,))))
    wrong = [problems for problems in found.values() if problems != ["is not listed"]]
    assert wrong == [[]] * len(model.precisions)


def test_what_ships_is_what_the_release_config_lists() -> None:
    listed = [
        f"{model.checkpoint.removesuffix('_int8')}_{precision}.{model.format}"
        for model in RELEASE.models
        for precision in model.precisions
    ]
    assert sorted(listed) == sorted(path.name for path, _ in list_models())


def test_a_recipe_says_how_the_teachers_were_trained_last() -> None:
    steps = read_recipe(CONFIGS / "teacher/gan_lstm.yaml").steps
    for name, number in (("gan_lstm", 6), ("gan_lstm_gan", 7)):
        config, checkpoint = steps[number - 1].training, load_checkpoint(name)
        assert checkpoint.name == name
        assert network_config(config.architecture, config.network) == checkpoint.config
        assert _done(config, config.steps) in checkpoint.recipe[-1]


@pytest.mark.parametrize("name", ["nano", "small", "base"])
def test_a_recipe_made_the_student_that_ships(name: str) -> None:
    steps = read_recipe(CONFIGS / f"students/{name}.yaml").steps
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
