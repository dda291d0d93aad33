import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import TrainingCost, load_checkpoint, save_checkpoint
from core.config import build_config
from core.errors import CheckpointError, ConfigError, TrainingError
from core.mixture.sample import Kind, Sample
from core.training import objective as objective_module
from core.training.adversary import AdversarialConfig
from core.training.config import TrainConfig
from core.training.learner import Learner

RAINY = torch.full((2, 3, 16, 16), 120, dtype=torch.uint8)
CLEAN = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)


def _batch(rainy: torch.Tensor, clean: torch.Tensor) -> Sample:
    nothing = torch.empty(len(rainy), 0, dtype=torch.uint8)
    return Sample(rainy, clean, torch.full((len(rainy),), int(Kind.PAIR)), nothing)


BATCH = _batch(RAINY, CLEAN)


@pytest.fixture
def config(train_values: dict[str, Any]) -> TrainConfig:
    return build_config(TrainConfig, train_values, "config")


def _weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in learner.module.state_dict().items()}


def test_steps_lower_the_loss_at_the_scheduled_rate(config: TrainConfig) -> None:
    config = dataclasses.replace(config, steps=40)
    learner = Learner(config)
    losses = []
    for step in range(40):
        losses.append(learner.update(BATCH, step)["loss"].item())
        assert learner.optimizer.param_groups[0]["lr"] == config.learning_rate_at(step)
    assert losses[0] == pytest.approx(30 / 255)  # untrained it returns its input
    assert losses[-1] < 0.2 * losses[0]


def test_the_average_follows_by_hand(config: TrainConfig) -> None:
    learner = Learner(dataclasses.replace(config, ema_decay=0.24, learning_rate=0.01))
    name = "exit.bias"
    learner.update(BATCH, 0)
    wanted = _weights(learner)[name]  # the first weights as they are
    for step, keep in ((1, 2 / 11), (2, 0.24)):  # (1 + n) / (10 + n), at most the decay
        learner.update(BATCH, step)
        wanted = keep * wanted + (1 - keep) * _weights(learner)[name]
    assert wanted.abs().max() > 0
    found = learner.average.module.state_dict()[name]
    torch.testing.assert_close(found, wanted, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e3])
def test_the_gradient_is_clipped_to_its_norm(config: TrainConfig, clip: float) -> None:
    learner = Learner(dataclasses.replace(config, gradient_clip=clip))
    free = Learner(dataclasses.replace(config, gradient_clip=0.0))
    norms = []
    for each in (learner, free):
        each.update(BATCH, 0)
        grads = [p.grad for p in each.module.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(grads).item())
    assert norms[0] == pytest.approx(min(norms[1], clip) if clip else norms[1], rel=1e-3)


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(
    config: TrainConfig, clip: float, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Learner(dataclasses.replace(config, gradient_clip=clip))
    learner.update(BATCH, 0)
    before = _weights(learner)
    monkeypatch.setattr(
        objective_module, "reconstruction_loss", lambda derained, *_: derained.sum() * value
    )
    with pytest.raises(
        TrainingError, match=r"tiny: gradient is not finite at step 2, loss .*lower"
    ):
        learner.update(BATCH, 1)
    assert all(torch.equal(value, before[key]) for key, value in _weights(learner).items())
    assert learner.average.n_averaged == 1


def test_seeds_make_the_weights(config: TrainConfig) -> None:
    first, again = _weights(Learner(config)), _weights(Learner(config))
    other = _weights(Learner(dataclasses.replace(config, seed=1)))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["entry.weight"], other["entry.weight"])


def test_init_goes_on_from_a_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    start = Learner(config)
    start.update(BATCH, 0)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, start.checkpoint(1, 0.0))
    later = Learner(dataclasses.replace(config, init=str(path), seed=5))
    wanted = start.average.module.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in _weights(later).items())
    first, second = later.checkpoint(2, 0.0).recipe
    assert first == "train: student from scratch, 1 of 4 steps of 2 x 16 x 16, 32-true, seed 0"
    assert second.startswith("train: student from tiny, 2 of 4 steps")
    assert later.checkpoint(2, 0.0).data == ("dry", "pairs")


def test_init_that_does_not_fit(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    with pytest.raises(CheckpointError, match=r"start\.safetensors: cannot be read"):
        Learner(dataclasses.replace(config, init=str(path)))
    save_checkpoint(path, Learner(config).checkpoint(0, 0.0))
    other = {**config.network, "widths": [8], "encoder_blocks": [1], "decoder_blocks": []}
    with pytest.raises(
        ConfigError, match=r"init .*start\.safetensors: is student .*2 levels, not 1"
    ):
        Learner(dataclasses.replace(config, init=str(path), network=other))


def test_init_with_a_smaller_student_grows_it(config: TrainConfig, tmp_path: Path) -> None:
    start = Learner(config)
    start.update(BATCH, 0)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, start.checkpoint(1, 0.0))
    wider = Learner(
        dataclasses.replace(
            config, init=str(path), network={**config.network, "widths": [8, 16]}, seed=5
        )
    )
    rainy = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(wider.module(rainy), start.average.module(rainy))
    lines = wider.checkpoint(2, 0.0).recipe
    assert lines[1] == "grow: widths [8, 8] to [8, 16], seed 5"
    assert lines[2].startswith("train: student from tiny, 2 of 4 steps")


def test_init_may_have_another_number_of_stages(config: TrainConfig, tmp_path: Path) -> None:
    path, network = tmp_path / "one.safetensors", {"width": 4, "blocks": 1, "radius": 1}
    config = dataclasses.replace(config, architecture="gan_lstm", network={**network, "stages": 1})
    one = Learner(config)
    save_checkpoint(path, one.checkpoint(0, 0.0))
    two = dataclasses.replace(config, network={**network, "stages": 2}, init=str(path), seed=3)
    assert all(torch.equal(value, _weights(one)[k]) for k, value in _weights(Learner(two)).items())
    with pytest.raises(ConfigError, match="init"):
        Learner(dataclasses.replace(two, network={**network, "stages": 2, "radius": 2}))


def test_bfloat16_trains_float32_weights(config: TrainConfig) -> None:
    learner = Learner(dataclasses.replace(config, precision="bf16-mixed"))
    assert learner.update(BATCH, 0)["loss"].item() == pytest.approx(30 / 255, abs=2e-3)
    assert {value.dtype for value in learner.checkpoint(1, 0.0).weights.values()} == {torch.float32}


def test_every_bit_of_the_input_enters_in_bfloat16(config: TrainConfig) -> None:
    learner = Learner(dataclasses.replace(config, precision="bf16-mixed"))
    seen = []
    learner.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rainy = torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16).to(torch.uint8)
    learner.update(_batch(rainy, CLEAN), 0)
    assert torch.equal(seen[0], rainy.float() / 255)


def test_parts_of_a_batch_make_the_same_step(config: TrainConfig) -> None:
    rainy = torch.cat([RAINY, RAINY.flip(3) // 2])
    clean = torch.cat([CLEAN, CLEAN + 40])
    config = dataclasses.replace(config, batch_size=4, gradient_clip=0.0)
    once, twice = (Learner(dataclasses.replace(config, accumulate=n)) for n in (1, 2))
    for step in range(3):
        losses = [each.update(_batch(rainy, clean), step)["loss"].item() for each in (once, twice)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for key, value in _weights(once).items():
        torch.testing.assert_close(_weights(twice)[key], value, atol=1e-5, rtol=1e-3)


def test_the_gan_phase_begins_where_it_should(config: TrainConfig) -> None:
    adversarial = AdversarialConfig(weight=0.2, start=1, width=4, depth=2)
    learner = Learner(dataclasses.replace(config, adversarial=adversarial))
    assert learner.adversary is not None
    before = [weight.detach().clone() for weight in learner.adversary.module.parameters()]
    assert set(learner.update(BATCH, 0)) == {"loss"}
    weights = list(learner.adversary.module.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    losses = learner.update(BATCH, 1)
    assert set(losses) == {"adversarial", "discriminator", "loss"}
    assert losses["loss"] > losses["adversarial"] > 0
    assert not torch.equal(before[0], weights[0])


@pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
def test_compiled_it_takes_the_same_step(config: TrainConfig) -> None:
    plain, compiled = (
        Learner(dataclasses.replace(config, compile=flag, accelerator="cpu"))
        for flag in (False, True)
    )
    losses = [each.update(BATCH, 0)["loss"].item() for each in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    torch.testing.assert_close(_weights(compiled), _weights(plain), atol=1e-4, rtol=1e-3)


def test_what_it_took_adds_up(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, Learner(config).checkpoint(3, 1800.0))
    assert load_checkpoint(path).cost == TrainingCost(3, 0.5, "1 CPU thread")
    later = Learner(dataclasses.replace(config, init=str(path)))
    assert later.checkpoint(2, 3600.0).cost == TrainingCost(5, 1.5, "1 CPU thread")
    elsewhere = TrainingCost(3, 0.5, "a GPU; 1 CPU thread; another")
    save_checkpoint(path, dataclasses.replace(load_checkpoint(path), cost=elsewhere))
    once = Learner(dataclasses.replace(config, init=str(path))).checkpoint(2, 0.0).cost
    assert once == TrainingCost(5, 0.5, elsewhere.hardware)  # each machine is named once
    save_checkpoint(path, dataclasses.replace(Learner(config).checkpoint(3, 1.0), cost=None))
    assert Learner(dataclasses.replace(config, init=str(path))).checkpoint(2, 1.0).cost is None
