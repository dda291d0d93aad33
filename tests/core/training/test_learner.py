import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import TrainingCost, load_checkpoint, save_checkpoint
from core.config import build_config
from core.errors import CheckpointError, ConfigError, TrainingError
from core.mixture.dataset import Kind, Sample, to_float
from core.networks.rescan import Rescan, RescanConfig
from core.quantization import Quantization
from core.training import learner as learner_module
from core.training.config import TrainConfig
from core.training.learner import Learner, Objective, auxiliary_losses
from core.training.losses import AdversarialConfig, LossConfig, reconstruction_loss
from core.training.train import train

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
        learner_module, "reconstruction_loss", lambda derained, *_: derained.sum() * value
    )
    with pytest.raises(
        TrainingError, match=r"tiny: gradient is not finite at step 2, loss .*lower"
    ):
        learner.update(BATCH, 1)
    assert all(torch.equal(value, before[key]) for key, value in _weights(learner).items())
    assert learner.average.n_averaged == 1


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
    flat = {"widths": [8], "encoder_blocks": [0], "decoder_blocks": []}
    config = dataclasses.replace(config, network=flat)  # a kernel less is seconds less
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


class _Shift(Objective):
    """Asks for the clean pictures and a shift."""

    def __init__(self) -> None:
        super().__init__(LossConfig())
        self.verb, self.note, self.data = "shift", "by a line", ("elsewhere",)

    def observe(self, batch: Sample) -> dict[str, torch.Tensor]:
        return {"shift": torch.tensor(0.1)}

    def forward(self, derained: Any, batch: Sample, observed: Any) -> dict[str, torch.Tensor]:
        loss = (derained - to_float(batch.clean) - observed["shift"]).abs().mean()
        return {"loss": loss, "shift": observed["shift"]}


def _random_batch() -> Sample:
    rainy = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    kinds = torch.full((2,), int(Kind.PAIR))
    return Sample(rainy, rainy // 2, kinds, torch.empty(2, 0, dtype=torch.uint8))


def test_by_default_it_is_the_difference_to_the_clean_pictures() -> None:
    loss, batch = LossConfig(l1=0.5, mse=2.0), _random_batch()
    objective = Objective(loss)
    derained = torch.rand(2, 3, 16, 16)
    losses = objective(derained, batch, objective.observe(batch))
    assert losses == {"loss": reconstruction_loss(derained, to_float(batch.clean), loss)}
    assert not list(objective.parameters())


def test_what_it_is_trained_for_is_named(config: TrainConfig) -> None:
    learner = Learner(config, _Shift())
    assert set(learner.update(_random_batch(), 0)) == {"loss", "shift"}
    checkpoint = learner.checkpoint(1, 0.0)
    assert checkpoint.recipe[0].startswith("shift: student from scratch, 1 of 4 steps of 2 x 16")
    assert checkpoint.recipe[0].endswith("seed 0, by a line")
    assert checkpoint.data == ("dry", "elsewhere", "pairs")


def test_a_run_resumes_with_its_objective_only(config: TrainConfig) -> None:
    result = train(config, progress=False, objective=_Shift())
    rows = (result.folder / "logs/metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows if ",shift," in row] == ["1", "2", "3", "4"]
    with pytest.raises(ConfigError, match=r"of another run \(objective by a line -> plain\)"):
        train(config, resume=True, progress=False)
    assert train(config, resume=True, progress=False, objective=_Shift()).step == 4


def test_plain_training_refuses_pictures_without_a_clean_version(config: TrainConfig) -> None:
    part = dataclasses.replace(config.mixture.parts["dry"], rain="unlabelled")
    mixture = dataclasses.replace(config.mixture, parts={"dry": part})
    with pytest.raises(ConfigError, match=r"'dry' has no clean pictures.*distill --teacher CKPT$"):
        Learner(dataclasses.replace(config, mixture=mixture))


def test_what_a_start_says_of_itself_stays(config: TrainConfig, tmp_path: Path) -> None:
    start = dataclasses.replace(
        Learner(config).checkpoint(1, 0.0), name="a", quantization=Quantization("fp16")
    )
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, start)
    learner = Learner(dataclasses.replace(config, init=str(path), name="b"))
    found = learner.checkpoint(1, 0.0)
    assert (found.name, found.quantization) == ("b", start.quantization)
    picture = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(learner.module.eval()(picture), start.build()(picture))


LOSS = LossConfig(l1=1.0, mse=2.0)


@pytest.fixture
def staged(train_values: dict[str, Any]) -> TrainConfig:
    """A run of a RESCAN of three stages, on one step that changes something."""
    values = {
        **train_values,
        "architecture": "rescan",
        "network": {"width": 4, "depth": 3, "stages": 3},
        "loss": {"l1": LOSS.l1, "mse": LOSS.mse},
    }
    return build_config(TrainConfig, values, "config")


def _kinds_batch(*kinds: Kind) -> Sample:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(
        256, (2, len(kinds), 3, 16, 16), generator=generator, dtype=torch.uint8
    )
    nothing = torch.empty(len(kinds), 0, dtype=torch.uint8)
    return Sample(pictures[0], pictures[1], torch.tensor([int(k) for k in kinds]), nothing)


def _network(seed: int = 0) -> Rescan:
    torch.manual_seed(seed)
    net = Rescan(RescanConfig(width=4, depth=3, stages=3))
    torch.nn.init.normal_(net.exit.weight, std=0.2)
    return net


def _loss(picture: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    return reconstruction_loss(picture, clean, LOSS)


def _losses(net: Rescan, batch: Sample) -> dict[str, torch.Tensor]:
    _, outputs = net.forward_auxiliary(to_float(batch.rainy))
    return auxiliary_losses(net, outputs, batch, _loss)


@torch.no_grad()
def test_pictures_without_a_clean_version_say_nothing() -> None:
    net, batch = _network(), _kinds_batch(Kind.PAIR, Kind.UNLABELLED, Kind.DRY, Kind.UNLABELLED)
    found = _losses(net, batch)
    pairs = Sample(batch.rainy[::2], batch.clean[::2], batch.kind[::2], batch.taught[::2])
    wanted = sum(
        _loss(stage, to_float(pairs.clean)) for stage in net.stages(to_float(pairs.rainy))[:-1]
    )
    torch.testing.assert_close(found["stages"], 0.5 * wanted)  # half of the samples


def test_without_any_clean_picture_there_are_zeros_for_every_weight() -> None:
    net = _network()
    losses = _losses(net, _kinds_batch(Kind.UNLABELLED))
    assert losses == {"stages": 0}
    losses["stages"].backward()  # type: ignore[no-untyped-call]
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert not weight.grad.any(), name


def test_a_step_makes_the_sum_small(staged: TrainConfig) -> None:
    learner, batch = Learner(staged), _kinds_batch(Kind.PAIR, Kind.DRY)
    losses = learner.update(batch, 0)
    assert set(losses) == {"loss", "stages"}
    # Untrained, every stage returns its input.
    one = reconstruction_loss(to_float(batch.rainy), to_float(batch.clean), LOSS)
    torch.testing.assert_close(losses["stages"], 2 * one)
    torch.testing.assert_close(losses["loss"], 3 * one)
    before = losses["loss"]
    for step in range(1, 4):
        losses = learner.update(batch, step)
    assert losses["loss"] < before


def test_they_weigh_as_much_as_clean_pictures_do(staged: TrainConfig) -> None:
    quiet = Objective(LOSS)
    quiet.clean_weight = 0.25
    batch = _kinds_batch(Kind.PAIR, Kind.PAIR)
    full = Learner(staged).update(batch, 0)
    quarter = Learner(staged, quiet).update(batch, 0)
    torch.testing.assert_close(quarter["stages"], full["stages"] / 4)
    torch.testing.assert_close(quarter["loss"], full["loss"] - 0.75 * full["stages"])


def test_other_arithmetic_trains_on_the_result_alone(staged: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    start = Learner(staged).checkpoint(0, 0.0)
    save_checkpoint(path, dataclasses.replace(start, quantization=Quantization("fp16")))
    assert load_checkpoint(path).precision == "fp16"
    learner = Learner(dataclasses.replace(staged, init=str(path)))
    assert learner.auxiliary is None


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_logs_them(staged: TrainConfig, precision: Any) -> None:
    result = train(dataclasses.replace(staged, precision=precision), progress=False)
    rows = (result.folder / "logs/metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows if ",stages," in row] == ["1", "2", "3", "4"]
    best = load_checkpoint(result.folder / "best.safetensors")
    assert best.build()(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5, 7)
