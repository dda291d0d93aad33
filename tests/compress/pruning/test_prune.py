"""Pruning checkpoints: goals, stages, rounds with training, and what is refused."""

import dataclasses
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from compress.cli import main
from compress.cost import macs_per_pixel
from compress.distillation import DistillConfig
from compress.pruning.prune import PruneConfig, prune
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.errors import CheckpointError, ConfigError
from core.quantization import Quantization
from core.training.learner import Learner
from edge_runtime.models.records import to_plain
from tests.compress.conftest import stopping_at
from tests.conftest import Refused

MakeConfig = Callable[..., DistillConfig]
MakeTeacher = Callable[..., Path]
WIDE = {"widths": [16, 24], "encoder_blocks": [1, 1], "decoder_blocks": [1]}


def macs(checkpoint: Checkpoint) -> float:
    return macs_per_pixel(checkpoint.build(), checkpoint.config.size_multiple)


def parameter_bytes(checkpoint: Checkpoint) -> int:
    return 4 * sum(parameter.numel() for parameter in checkpoint.build().parameters())


@pytest.fixture
def wide(make_teacher: MakeTeacher) -> Path:
    return make_teacher("student", **WIDE)


@pytest.fixture
def run(distill_config: MakeConfig) -> MakeConfig:
    """A training run of two steps for every round, of the network that is to be pruned."""

    def make(place: Path, **values: Any) -> DistillConfig:
        checkpoint = load_checkpoint(place)
        network = {
            "architecture": checkpoint.architecture,
            "network": to_plain(checkpoint.config),
            "role": checkpoint.role,
        }
        return distill_config(**{"name": "thin", "steps": 2, **network, **values})

    return make


@pytest.mark.parametrize(
    ("architecture", "network"),
    [
        ("student", WIDE),
        ("deconv", {"widths": [16, 32]}),
        ("gan_lstm", {"width": 24, "attention": "channel"}),
        ("jorder", {"width": 24}),
        ("rescan", {"width": 24}),
    ],
)
def test_without_data_it_prunes_at_once_and_says_so(
    architecture: str,
    network: dict[str, Any],
    make_teacher: MakeTeacher,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = make_teacher(architecture, **network)
    before = load_checkpoint(place)
    pruned = prune(place, PruneConfig(target_macs=0.5))
    assert pruned.trained is None
    assert "pruned without training" in caplog.text
    assert (pruned.checkpoint.role, pruned.checkpoint.data) == (before.role, before.data)
    first, last = pruned.checkpoint.recipe
    assert (
        first == f"prune: by l2, {macs(before):.0f} to {macs(pruned.checkpoint):.0f} MACs per pixel"
    )
    assert last == "prune: not trained afterwards"
    assert 0.2 * macs(before) < macs(pruned.checkpoint) <= 0.5 * macs(before)

    save_checkpoint(tmp_path / "thin.safetensors", pruned.checkpoint)
    again = load_checkpoint(tmp_path / "thin.safetensors")
    assert again.config == pruned.checkpoint.config != before.config
    side = 3 * again.config.size_multiple
    rainy = torch.rand(1, 3, side, side)
    assert torch.equal(again.build()(rainy), pruned.checkpoint.build()(rainy))


def test_bytes_are_a_goal_too(wide: Path) -> None:
    before = parameter_bytes(load_checkpoint(wide))
    pruned = prune(wide, PruneConfig(target_bytes=before // 2)).checkpoint
    assert before / 4 < parameter_bytes(pruned) <= before // 2
    assert pruned.recipe[0].endswith(f"{before} to {parameter_bytes(pruned)} bytes")


@pytest.mark.parametrize("architecture", ["gan_lstm", "jorder", "rescan"])
def test_stages_are_cut_and_count_towards_the_macs(
    make_teacher: MakeTeacher, architecture: str
) -> None:
    place = make_teacher(architecture, stages=4, width=8)
    before = load_checkpoint(place)
    cut = prune(place, PruneConfig(stages=2)).checkpoint
    assert cut.config == dataclasses.replace(before.config, stages=2)
    assert cut.recipe[0] == "prune: 4 to 2 stages"
    assert all(torch.equal(cut.weights[key], value) for key, value in before.weights.items())
    enough = prune(place, PruneConfig(stages=2, target_macs=0.6)).checkpoint
    assert enough.config == cut.config


def test_rounds_train_and_teach_by_the_unpruned(
    wide: Path, run: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_checkpoint(wide)
    training = run(wide, validate_every=1)
    falling = iter(range(30, 0, -1))  # the first step of every round is the best
    monkeypatch.setattr("core.training.train.validation_score", lambda *_: float(next(falling)))
    pruned = prune(
        wide, PruneConfig(target_macs=0.4, rounds=2, batches=1), training, progress=False
    )
    checkpoint = pruned.checkpoint
    assert (checkpoint.name, checkpoint.role) == ("thin", "teacher")
    assert macs(checkpoint) <= 0.4 * macs(before)
    assert [line.split(":")[0] for line in checkpoint.recipe] == ["prune", "distill"] * 2
    assert all("by taylor" in line for line in checkpoint.recipe[::2])
    assert all("wise" in line for line in checkpoint.recipe[1::2])  # the unpruned network's name
    folder = Path(training.out) / "thin"
    half = macs(load_checkpoint(folder / "round1" / "best.safetensors"))
    assert 0.4 * macs(before) < half <= 0.4**0.5 * macs(before) + 1e-6
    assert pruned.trained is not None
    assert pruned.trained.folder == folder / "round2"
    best = load_checkpoint(folder / "round2" / "best.safetensors")
    assert all(torch.equal(checkpoint.weights[key], value) for key, value in best.weights.items())


def test_one_round_is_enough_for_stages(make_teacher: MakeTeacher, run: MakeConfig) -> None:
    place = make_teacher("gan_lstm")
    pruned = prune(place, PruneConfig(stages=1), run(place), progress=False)
    assert [line.split(":")[0] for line in pruned.checkpoint.recipe] == ["prune", "distill"]


def test_l2_can_be_asked_for_with_data(wide: Path, run: MakeConfig) -> None:
    config = PruneConfig(target_macs=0.5, importance="l2", rounds=1)
    pruned = prune(wide, config, run(wide), progress=False)
    assert pruned.checkpoint.recipe[0].startswith("prune: by l2")


def test_it_resumes_where_it_was_stopped(
    wide: Path, run: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PruneConfig(target_macs=0.4, rounds=2, batches=1)
    whole = prune(wide, config, run(wide, name="whole"), progress=False)
    training = run(wide)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", stopping_at(0, "round2", signal.SIGTERM))
        stopped = prune(wide, config, training, progress=False)
    assert stopped.trained is not None
    assert stopped.trained.stopped_by == signal.SIGTERM
    with pytest.raises(ConfigError, match=r"thin exists already; add --resume"):
        prune(wide, config, training, progress=False)
    resumed = prune(wide, config, training, resume=True, progress=False)
    assert resumed.checkpoint.config == whole.checkpoint.config
    for key, value in whole.checkpoint.weights.items():
        assert torch.equal(resumed.checkpoint.weights[key], value), key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"nothing to prune to; give target_macs, target_bytes or stages"),
        ({"target_macs": 0.5, "target_bytes": 9}, r"target_macs 0\.5 and target_bytes 9: give one"),
        ({"target_macs": 1.0}, r"target_macs 1\.0 is not within \(0, 1\)"),
        ({"target_macs": -0.5}, r"target_macs -0\.5 is not within"),
        ({"target_macs": 0.5, "rounds": 0}, r"rounds 0 must be at least 1"),
        ({"target_macs": 0.5, "batches": 0}, r"batches 0 must be at least 1"),
        ({"target_bytes": -1}, r"target_bytes -1 must be at least 0"),
    ],
)
def test_configs_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruneConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_macs": 0.01}, r"0\.01: the smallest within reach of wise is 0\.\d{3}, \d+ MACs"),
        ({"target_bytes": 100}, r"100: the smallest within reach of wise is \d+$"),
        ({"stages": 1}, r"stages 1: wise is a student, which has none; leave it out"),
        ({"target_macs": 0.5, "importance": "taylor"}, r"taylor needs data for its gradients"),
    ],
)
def test_what_cannot_be_done_is_one_line(wide: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prune(wide, PruneConfig(**values))


def test_the_smallest_within_reach_is(wide: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        prune(wide, PruneConfig(target_bytes=100))
    least = int(str(refused.value).split()[-1])
    assert parameter_bytes(prune(wide, PruneConfig(target_bytes=least)).checkpoint) == least
    with pytest.raises(ConfigError) as refused:
        prune(wide, PruneConfig(target_macs=0.01))
    share = float(str(refused.value).split(" is ")[1].split(",")[0])
    prune(wide, PruneConfig(target_macs=share))


def test_stages_must_become_fewer(make_teacher: MakeTeacher) -> None:
    with pytest.raises(ConfigError, match=r"stages 2: wise has 2; take fewer"):
        prune(make_teacher("gan_lstm"), PruneConfig(stages=2))


def test_a_quantized_checkpoint_is_refused(wide: Path, tmp_path: Path) -> None:
    quantized = dataclasses.replace(load_checkpoint(wide), quantization=Quantization("fp16"))
    save_checkpoint(tmp_path / "half.safetensors", quantized)
    with pytest.raises(CheckpointError, match=r"is fp16 already; prune the checkpoint that it was"):
        prune(tmp_path / "half.safetensors", PruneConfig(target_macs=0.5))


def test_it_writes_a_smaller_checkpoint(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thin.safetensors"
    assert main(["prune", "--checkpoint", str(wide), "--target-macs", "0.5", "-o", str(out)]) == 0
    line, following = capsys.readouterr().out.splitlines()
    number = r"[\d.]+ to [\d.]+"
    assert re.match(rf"thin: {number} kMAC/pixel, about {number} kB as ONNX, {number} ms", line)
    assert line.endswith(f": {out}")
    assert following == f"next: derain-export onnx {out} -o artifacts"
    assert load_checkpoint(out).name == "thin"


def test_the_name_is_made_of_the_old_one(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prune", "--checkpoint", str(wide), "--target-bytes", "24KB"]) == 0
    assert load_checkpoint("./wise_pruned.safetensors").name == "wise_pruned"
    amount = ["--target-macs", "2k", "-o", "two.safetensors"]
    assert main(["prune", "--checkpoint", str(wide), *amount]) == 0
    assert 1000 < macs(load_checkpoint("./two.safetensors")) <= 2000


def test_options_of_the_training_follow(
    make_teacher: Callable[..., Path],
    train_values: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The file is that of another network: what is pruned takes its place.
    place = str(make_teacher("gan_lstm", width=16))
    file, out = tmp_path / "run.yaml", tmp_path / "thin.safetensors"
    file.write_text(yaml.safe_dump(train_values), encoding="utf-8")
    command = ["prune", "--checkpoint", place, "--target-macs", "0.8", "--rounds", "1"]
    command += ["--batches", "1", "--config", str(file), "--steps", "1", "-o", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "1 steps, best score" in printed
    assert re.search(r"\nthin: [+-][\d.]+( to [+-].+)? dB, [\d.]+ to [\d.]+ kMAC/pixel", printed)
    recipe = load_checkpoint(out).recipe
    assert recipe[-1].startswith("distill: gan_lstm from thin, 1 of 1 steps")
    assert (tmp_path / "runs" / "thin" / "round1" / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "nothing to prune to"),
        (("--target-macs", "0.001"), 2, "the smallest within reach"),
        (("--target-macs", "0.5", "--importance", "taylor"), 2, "give --config FILE, or take l2"),
        (("--target-macs", "50k"), 2, "wise has 3624 MACs per pixel; take fewer"),
        (("--target-macs", "0.5", "--steps", "9"), 2, "--steps has no use without training"),
        (("--target-macs", "0.5", "-o", "{wide}"), 2, "exists already; name another with -o"),
        (("--target-macs", "0.5", "--config", "none.yaml"), 2, "none.yaml: cannot be read"),
        (("--target-macs", "0.5", "--config", "{wide}.yaml", "--stepz", "9"), 2, "stepz"),
    ],
)
def test_errors_are_one_line_and_write_nothing(
    options: tuple[str, ...],
    code: int,
    message: str,
    wide: Path,
    train_values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Refused,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{wide}.yaml").write_text(yaml.safe_dump(train_values), encoding="utf-8")
    given = [option.replace("{wide}", str(wide)) for option in options]
    assert refused(main, ["prune", "--checkpoint", str(wide), *given], message) == code


def test_an_interrupt_says_how_to_go_on(
    wide: Path,
    train_values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compress.pruning.prune.read_batches", interrupted)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(train_values), encoding="utf-8")
    command = ["prune", "--checkpoint", str(wide), "--target-macs", "0.5", "--config", str(file)]
    command += ["-o", str(tmp_path / "thin.safetensors")]
    assert main(command) == 130
    assert capsys.readouterr().err == "compress: interrupted; the same command begins anew\n"
    (tmp_path / "runs/thin").mkdir(parents=True)
    assert main([*command, "--resume"]) == 130
    assert (
        capsys.readouterr().err == "compress: interrupted; the same command with --resume goes on\n"
    )


def test_a_missing_checkpoint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--checkpoint", "./none.safetensors", "--stages", "1"]) == 1
    assert "none.safetensors: cannot be read" in capsys.readouterr().err
