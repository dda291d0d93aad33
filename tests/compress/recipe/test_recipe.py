"""Recipe files: which options reach which step, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from compress.pruning.prune import PruneConfig
from compress.quantization.quantize import QuantizeConfig
from compress.recipe.recipe import build_recipe, read_recipe
from core.errors import ConfigError

STEPS = [
    {"train": {"steps": 6}},
    {"prune": {"target_macs": 0.5, "learning_rate": 0.01, "mixture": {"crop": 24}}},
    {"quantize": {"scheme": "int8", "method": "minmax"}},
]


def test_options_of_all_steps_and_of_one(train_values: dict[str, Any]) -> None:
    recipe = build_recipe({**train_values, "recipe": STEPS})
    first, second, third = recipe.steps
    assert [step.name for step in recipe.steps] == ["1_train", "2_prune", "3_quantize"]
    assert (first.training.steps, second.training.steps) == (6, train_values["steps"])
    assert second.options == PruneConfig(target_macs=0.5)
    assert second.training.learning_rate == 0.01
    assert second.training.mixture.crop == 24
    assert second.training.mixture.parts == first.training.mixture.parts
    assert third.options == QuantizeConfig("int8", method="minmax")
    assert [step.steps for step in recipe.steps] == [6, 3 * train_values["steps"], 0]
    assert recipe.judge.sets == first.training.validation


def test_the_teacher_is_that_of_distillation_alone(
    train_values: dict[str, Any], make_teacher: Callable[..., Path]
) -> None:
    teacher = str(make_teacher())
    steps = [{"distill": None}, *STEPS[1:]]
    recipe = build_recipe({**train_values, "teacher": teacher, "recipe": steps})
    assert [step.training.teacher for step in recipe.steps] == [teacher, "", ""]
    assert recipe.teacher == teacher


def test_a_checkpoint_brings_its_own_network(
    train_values: dict[str, Any], make_teacher: Callable[..., Path]
) -> None:
    place = str(make_teacher("student", widths=[16, 24]))
    recipe = build_recipe({**train_values, "checkpoint": place, "recipe": STEPS[1:]})
    assert recipe.steps[0].training.network["widths"] == [16, 24]


def test_a_file_extends_and_a_given_option_wins(
    train_values: dict[str, Any], tmp_path: Path, make_teacher: Callable[..., Path]
) -> None:
    (tmp_path / "below.yaml").write_text(yaml.safe_dump({**train_values, "teacher": "none"}))
    file = tmp_path / "recipe.yaml"
    file.write_text("extends: below.yaml\nrecipe: [distill, {quantize: {scheme: fp16}}]\n")
    recipe = read_recipe(file, teacher=str(make_teacher()), data_root=None)
    assert recipe.teacher == str(make_teacher())
    assert recipe.judge.data_root == train_values["data_root"]


def test_a_step_extends_a_file(train_values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(yaml.safe_dump(train_values))
    other = {
        "out": "elsewhere",
        "role": "teacher",
        "learning_rate": 0.01,
        "mixture": {"crop": 24, "shrink": 0.5},
    }
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    step = {"extends": "other.yaml", "mixture": {"crop": 40}}
    values = {"extends": "shared.yaml", "recipe": [{"train": {"steps": 6}}, {"train": step}]}
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values))
    first, second = (step.training for step in read_recipe(file).steps)
    assert (second.learning_rate, second.mixture.crop, second.mixture.shrink) == (0.01, 40, 0.5)
    assert second.mixture.parts == first.mixture.parts
    assert (second.out, second.role) == (first.out, first.role) == (train_values["out"], first.role)
    assert first.mixture.shrink == 0

    for parent, message in (
        (3, "extends 3 is not the name of a file"),
        ("no.yaml", "no.yaml: can"),
    ):
        file.write_text(yaml.safe_dump({**values, "recipe": [{"train": {"extends": parent}}]}))
        with pytest.raises(ConfigError, match=message):
            read_recipe(file)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": []}, "recipe: lists no steps"),
        ({"recip": STEPS}, "recip: unknown key; did you mean 'recipe'"),
        (
            {"recipe": [{"destill": {}}]},
            r"recipe\[1\]: destill: unknown kind of step; did you mean",
        ),
        ({"recipe": [{"train": {}, "prune": {}}]}, r"recipe\[1\]: must be one kind of step"),
        (
            {"recipe": [{"train": {"step": 3}}]},
            r"recipe\[1\] train: step: unknown key; did you mean",
        ),
        ({"recipe": [{"train": {"steps": "a"}}]}, r"recipe\[1\] train: steps: must be a whole"),
        ({"recipe": [{"train": {"out": "x"}}]}, "out: is that of all steps"),
        ({"recipe": [{"train": {"mixture": {"crop": 7}}}]}, r"recipe\[1\] train: mixture.crop 7"),
        ({"recipe": [*STEPS[:2], {"train": {"init": "x"}}]}, "init: is of the first step alone"),
        ({"recipe": ["distill"]}, "needs a teacher; give --teacher CKPT, or make the step train"),
        ({"recipe": STEPS[1:]}, r"recipe\[1\] prune: has nothing to start from"),
        ({"recipe": [STEPS[0], STEPS[2], STEPS[1]]}, r"recipe\[2\] quantize: must be the last"),
        ({"recipe": [STEPS[0], "prune"]}, r"recipe\[2\] prune: nothing to prune to"),
        ({"recipe": [STEPS[0], {"quantize": {"crops": 4}}]}, "quantize: crops 4 of 16x16 are"),
        ({"recipe": [STEPS[0], {"quantize": {"scheme": "int4"}}]}, "quantize: scheme: must be one"),
        ({"recipe": STEPS, "devices": 2}, "devices 2: a recipe runs in one process"),
    ],
)
def test_what_is_wrong_is_named_with_its_step(
    train_values: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_recipe({**train_values, **values})
