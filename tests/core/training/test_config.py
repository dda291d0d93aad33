import dataclasses
import math
import re
from typing import Any

import pytest

from core.config import build_config
from core.errors import ConfigError
from core.networks import ARCHITECTURES
from core.training.config import TrainConfig, differences, training_parser
from core.training.losses import AdversarialConfig, LossConfig


@pytest.fixture
def config(train_values: dict[str, Any]) -> TrainConfig:
    return build_config(TrainConfig, train_values, "config")


def test_learning_rate_rises_linearly_and_falls_as_a_cosine(config: TrainConfig) -> None:
    run = dataclasses.replace(config, steps=1000, warmup_steps=100, learning_rate=2.0)

    def cosine(step: int) -> float:
        return 1 + math.cos(math.pi * step / 1000)

    assert run.learning_rate_at(0) == pytest.approx(cosine(0) / 100)
    assert run.learning_rate_at(49) == pytest.approx(cosine(49) / 2)
    assert run.learning_rate_at(99) == pytest.approx(cosine(99))
    assert run.learning_rate_at(500) == pytest.approx(1.0)
    assert run.learning_rate_at(999) == pytest.approx(2e-3)  # a thousandth at the end
    rates = [run.learning_rate_at(step) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_without_warm_up_it_starts_at_its_highest(config: TrainConfig) -> None:
    run = dataclasses.replace(config, warmup_steps=0, learning_rate=0.5)
    assert run.learning_rate_at(0) == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "name '' must be a file name"),
        ({"name": ".."}, r"name '\.\.' must be a file name"),
        ({"name": "a/b"}, "name 'a/b' must be a file name"),
        ({"validation": {}}, "validation is empty"),
        ({"steps": 0}, "steps 0 must be at least 1"),
        ({"log_every": 0}, "log_every 0 must be at least 1"),
        ({"workers": -1}, "workers -1 must be 0 or more"),
        ({"ema_decay": 1.0}, r"ema_decay 1\.0 is not within"),
        ({"steps": 40, "warmup_steps": 40}, "warmup_steps 40: the run ends after 40 steps"),
        (
            {"steps": 40, "adversarial": AdversarialConfig(weight=0.1, start=40)},
            r"adversarial\.start 40: the run ends after 40 steps",
        ),
        ({"learning_rate": float("nan")}, "learning_rate nan must be above 0"),
        ({"network": {"widht": 3}}, r"network\.widht: unknown key; did you mean 'widths'"),
    ],
)
def test_wrong_values_are_named(config: TrainConfig, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, **values)


def test_crops_that_the_network_or_the_loss_cannot_take(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"mixture\.crop 18 is not a multiple of 4.*; take 20"):
        dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, crop=18))
    small = dataclasses.replace(config.mixture, crop=8)
    dataclasses.replace(config, mixture=small)
    with pytest.raises(ConfigError, match=r"mixture\.crop 8 is smaller than the SSIM window"):
        dataclasses.replace(config, mixture=small, loss=LossConfig(ssim=1.0))


def test_a_list_of_parts_as_runs_of_before_store_it_is_the_same_run(
    config: TrainConfig, train_values: dict[str, Any]
) -> None:
    mixture = train_values["mixture"]
    listed = {**mixture, "parts": list(mixture["parts"].values())}
    stored = build_config(TrainConfig, {**train_values, "mixture": listed}, "config")
    assert list(stored.mixture.parts) == ["0", "1", "2"]
    assert list(stored.mixture.parts.values()) == list(config.mixture.parts.values())
    assert differences(stored, config) == []
    assert differences({**train_values, "mixture": listed}, train_values) == []
    turned = {**mixture, "parts": dict(reversed(mixture["parts"].items()))}
    assert differences(train_values, {**train_values, "mixture": turned})


def test_differences_are_placed_and_free_fields_are_free(config: TrainConfig) -> None:
    free = dataclasses.replace(config, data_root="x", out="y", workers=2, log_every=7)
    assert differences(config, free) == []
    part = dataclasses.replace(config.mixture.parts["drawn"], weight=9.0)
    parts = {**config.mixture.parts, "drawn": part}
    other = dataclasses.replace(
        free,
        steps=5,
        mixture=dataclasses.replace(config.mixture, parts=parts),
        validation={"pairs": config.validation["pairs"]},
        network={**config.network, "widths": [8, 16]},
    )
    found = differences(config, other)
    assert "steps 4 -> 5" in found
    assert "mixture.parts[1].weight 1.0 -> 9.0" in found
    assert "network.widths [8, 8] -> [8, 16]" in found
    assert "validation.light.rain.seed 1 -> absent" in found
    assert all(
        line.startswith(("steps", "mixture", "network", "validation.light")) for line in found
    )


def test_help_has_words_and_no_marks() -> None:
    text = training_parser(TrainConfig, prog="derain train").format_help()
    assert not re.search(r"`|:\w+:|core\.", text)
    for name in ARCHITECTURES:
        assert name in text
