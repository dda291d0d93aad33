"""From a float checkpoint to an int8 one: budget, fine-tuning, warnings."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from compress.cli import main
from compress.quantization.quantize import (
    QuantizeConfig,
    Quantized,
    read_training,
    to_fp16,
    to_int8,
)
from compress.quantization.sensitivity import keep_in_float, measure_harm
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.errors import CheckpointError, ConfigError
from core.networks.student import StudentConfig, StudentNet
from core.training.config import TrainConfig
from core.training.learner import Learner
from edge_runtime.errors import UsageError
from tests.conftest import Refused

SENSITIVE = {"encoder.0.0.first", "encoder.0.0.second"}
"""Between these two, one channel takes values up to 1000 and another carries the result as 1."""


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A network that darkens by 40 levels, as the pairs need, through a planted sensitive block."""
    config = StudentConfig((8,), (1,), ())
    weights = {
        name: torch.zeros_like(each) for name, each in StudentNet(config).state_dict().items()
    }
    weights["entry.weight"][0] = 1 / 100
    weights["encoder.0.0.first.weight"][0, 0, 1, 1] = 1000
    weights["encoder.0.0.first.bias"][1] = 1
    weights["encoder.0.0.second.weight"][2, 1, 1, 1] = 1
    weights["exit.weight"][2] = -40 / 255
    return Checkpoint("tiny", "student", "student", config, weights, ("train: a",), ("set",))


@pytest.fixture
def config_file(tmp_path: Path, train_values: dict[str, Any]) -> Path:
    """A training config that says nothing of a network."""
    values = {k: v for k, v in train_values.items() if k not in ("name", "architecture", "network")}
    values["validation"] = {"pairs": values["validation"]["pairs"]}
    path = tmp_path / "quantize.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


Job = tuple[QuantizeConfig, TrainConfig]


def _job(checkpoint: Checkpoint, config_file: Path, **values: Any) -> Job:
    training = read_training(checkpoint, config_file, values.pop("options", ()))
    return QuantizeConfig(**{"method": "minmax", **values}), training


def _done(checkpoint: Checkpoint, job: Job) -> Quantized:
    found = to_int8(checkpoint, *job, progress=False)
    assert isinstance(found, Quantized)
    return found


def test_the_drop_budget_is_obeyed(checkpoint: Checkpoint, config_file: Path) -> None:
    free = _done(checkpoint, _job(checkpoint, config_file))
    assert free.before.score - free.after.score > 1  # the planted layers do harm
    assert free.harms == ()
    kept = _done(checkpoint, _job(checkpoint, config_file, max_drop=0.05))
    assert kept.before.score - kept.after.score <= 0.05
    record = kept.checkpoint.quantization
    assert record is not None
    assert {harm.layer for harm in kept.harms[:2]} == SENSITIVE
    assert set(record.float_layers) == SENSITIVE
    assert record.float_layers == tuple(harm.layer for harm in kept.harms[:2])
    assert kept.checkpoint.recipe == (
        "train: a",
        "quantize: int8, minmax of 256 crops",
        f"quantize: {', '.join(record.float_layers)} in float",
    )


def test_a_budget_that_holds_keeps_nothing_in_float(
    checkpoint: Checkpoint, config_file: Path
) -> None:
    found = _done(checkpoint, _job(checkpoint, config_file, max_drop=40.0))
    assert found.checkpoint.quantization is not None
    assert found.checkpoint.quantization.float_layers == ()


def test_named_layers_stay_in_float(checkpoint: Checkpoint, config_file: Path) -> None:
    found = _done(checkpoint, _job(checkpoint, config_file, keep_float=("exit", "entry")))
    record = found.checkpoint.quantization
    assert record is not None
    assert record.float_layers == ("exit", "entry")
    assert not {"exit", "entry"} & record.weights.keys()
    assert record.weights
    assert found.checkpoint.recipe[-1] == "quantize: exit, entry in float"
    with pytest.raises(UsageError, match="--keep-float exot: no such layer; did you mean 'exit'"):
        _done(checkpoint, _job(checkpoint, config_file, keep_float=("exot",)))


def test_all_in_float_is_the_float_network(checkpoint: Checkpoint, config_file: Path) -> None:
    quantized = _done(checkpoint, _job(checkpoint, config_file)).checkpoint
    crops = torch.randint(0, 256, (2, 3, 17, 16), dtype=torch.uint8)  # not of the size multiple
    harms = measure_harm(quantized, crops, progress=False)
    assert [harm.error for harm in harms] == sorted((harm.error for harm in harms), reverse=True)
    restored = keep_in_float(quantized, tuple(harm.layer for harm in harms))
    rainy = torch.rand(1, 3, 16, 16)
    assert torch.equal(restored.build()(rainy), checkpoint.build()(rainy))


def test_auto_takes_the_method_that_scores_best(checkpoint: Checkpoint, config_file: Path) -> None:
    torch.manual_seed(0)
    weights = {name: torch.randn_like(each) / 8 for name, each in checkpoint.weights.items()}
    checkpoint = dataclasses.replace(checkpoint, weights=weights)
    found = _done(checkpoint, _job(checkpoint, config_file, method="auto"))
    assert len({judged.score for judged in found.methods.values()}) == 3
    assert list(found.methods) == ["minmax", "percentile", "entropy"]
    best = max(found.methods, key=lambda name: found.methods[name].score)
    assert found.after == found.methods[best]
    assert found.checkpoint.recipe[-1] == f"quantize: int8, {best} of 256 crops"


def test_fine_tuning_sees_the_rounding(checkpoint: Checkpoint, config_file: Path) -> None:
    faster = ["--learning-rate=0.003"]
    options, training = _job(checkpoint, config_file, qat=True, options=faster)
    folder = Path(training.out) / "tiny_int8"
    folder.mkdir(parents=True)
    (folder / "start.safetensors").write_bytes(b"of a run that never took a step")
    found = _done(checkpoint, (options, training))
    assert found.after == found.tuned
    start = load_checkpoint(folder / "start.safetensors")
    assert start.precision == "int8"
    assert (found.checkpoint.name, found.checkpoint.precision) == ("tiny", "int8")
    assert found.checkpoint.quantization == start.quantization
    assert not torch.equal(
        found.checkpoint.weights["exit.weight"], checkpoint.weights["exit.weight"]
    )
    assert [line.split(":")[0] for line in found.checkpoint.recipe] == [
        "train",
        "quantize",
        "train",
    ]
    learner = Learner(dataclasses.replace(training, init=str(folder / "start.safetensors")))
    rainy = torch.rand(1, 3, 16, 16)
    for module in (learner.module, learner.average.module):
        assert torch.equal(module(rainy), start.build()(rainy))
    written = (folder / "start.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        to_int8(checkpoint, dataclasses.replace(options, crops=300), training)
    assert (folder / "start.safetensors").read_bytes() == written


def test_fine_tuning_that_harms_is_not_kept(checkpoint: Checkpoint, config_file: Path) -> None:
    wild = ["--learning-rate=1", "--steps=2"]
    kept = tuple(SENSITIVE)
    job = _job(checkpoint, config_file, qat=True, keep_float=kept, options=wild)
    found = _done(checkpoint, job)
    assert found.tuned is not None
    assert found.tuned.score < found.methods["minmax"].score == found.after.score
    assert found.checkpoint.recipe[-1].startswith("quantize: ")
    assert f"fine-tuning ended at {found.tuned.score:+.3f} dB, below the" in found.warnings[0]


def test_dead_units_and_saturation_name_the_layer(
    checkpoint: Checkpoint, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _done(checkpoint, _job(checkpoint, config_file))
    assert not [line for line in found.warnings if "saturate" in line]
    assert [line for line in found.warnings if line.endswith("in layer entry, 7 of 8")]
    monkeypatch.setattr("compress.quantization.calibrate.PERCENTILE", 90.0)
    found = _done(checkpoint, _job(checkpoint, config_file, method="percentile"))
    (line,) = [line for line in found.warnings if "saturate" in line]
    assert re.match(
        r"\d of \d tensors saturate; .*: most in layer .*, \d+\.\d\d% of the values", line
    )
    found = _done(checkpoint, _job(checkpoint, config_file, method="auto"))
    assert not [line for line in found.warnings if "saturate" in line]


def test_a_quantized_checkpoint_is_refused(checkpoint: Checkpoint, config_file: Path) -> None:
    half = to_fp16(checkpoint)
    assert half.recipe[-1] == "quantize: fp16"
    for again in (to_fp16, lambda each: to_int8(each, *_job(checkpoint, config_file))):
        with pytest.raises(CheckpointError, match="tiny: is fp16 already"):
            again(half)


def test_a_negative_budget(checkpoint: Checkpoint, config_file: Path) -> None:
    with pytest.raises(UsageError, match=r"--max-drop -1\.0 must be 0 or more dB"):
        _job(checkpoint, config_file, max_drop=-1.0)


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "tiny.safetensors", checkpoint)
    return "tiny.safetensors"


def test_command(saved: str, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["quantize", "--checkpoint", saved, "--scheme", "int8", "--max-drop", "0.05"]
    arguments += ["--method", "minmax", "--config", str(config_file)]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["pairs", "score", "drop"]
    assert [line.split()[0] for line in lines[1:4]] == ["float", "minmax", "result"]
    assert float(lines[2].split()[-1]) > 1
    assert float(lines[3].split()[-1]) <= 0.05
    assert "float  encoder.0.0." in captured.out
    assert re.fullmatch(
        r"tiny: [+-][\d.]+ to [+-][\d.]+ dB, 0\.528 to 0\.528 kMAC/pixel, about [\d.]+ to [\d.]+ "
        r"kB as ONNX, .*ms.*: tiny_int8.safetensors",
        lines[-2],
    )
    assert lines[-1] == "next: derain-export onnx tiny_int8.safetensors -o artifacts"
    assert load_checkpoint("./tiny_int8.safetensors").precision == "int8"


def test_options_of_the_training_follow(
    saved: str, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", "--checkpoint", saved, "--scheme", "int8", "--config", str(config_file)]
    command += ["--method", "minmax", "--qat", "--name", "tuned", "--learning-rate", "0.003"]
    assert main([*command, "--steps", "2"]) == 0
    assert "\nfine-tuned " in capsys.readouterr().out
    assert load_checkpoint("./tiny_int8.safetensors").name == "tiny"
    assert next(Path().glob("**/tuned/best.safetensors"))


def test_command_without_data(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", "--checkpoint", saved, "--scheme", "fp16", "-o", "h.safetensors"]) == 0
    assert "about 12.6 to 8.3 kB as ONNX" in capsys.readouterr().out
    assert load_checkpoint("./h.safetensors").precision == "fp16"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--scheme", "int8"], 2, "needs data to calibrate on; give a training config"),
        (["--scheme", "fp16", "--qat"], 2, "--qat has no use with --scheme fp16"),
        (["--scheme", "fp16", "--steps", "3"], 2, "--steps is of the fine-tuning; add --qat"),
        (
            ["--scheme", "int8", "--config", "quantize.yaml", "--name", "x"],
            2,
            "--name is of the fine",
        ),
        (["--scheme", "int8", "--config", "none.yaml"], 2, "none.yaml: cannot be read"),
        (["--scheme", "int8", "--config", "quantize.yaml", "--crops", "9"], 2, "crops 9 of 16x16"),
        (["--scheme", "int8", "--config", "quantize.yaml", "--data-root", "no"], 1, "no/pairs"),
        (["--scheme", "fp16", "-o", "tiny.safetensors"], 2, "exists already"),
    ],
)
def test_bad_input_is_one_line(
    saved: str, config_file: Path, refused: Refused, options: list[str], code: int, message: str
) -> None:
    assert refused(main, ["quantize", "--checkpoint", saved, *options], message) == code
