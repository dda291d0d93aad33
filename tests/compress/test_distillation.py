"""A run of distillation: nearer to the teacher, exactly resumed, and the control without one."""

import dataclasses
import functools
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from compress import cli
from compress.distillation import DistillationConfig, DistillConfig, distill, student_options
from compress.teacher import Teacher
from core.checkpoint import load_checkpoint, load_tensors, save_checkpoint
from core.config import build_config, load_config
from core.errors import CheckpointError, ConfigError
from core.inference import derain
from core.training.config import TrainConfig
from core.training.learner import Learner
from core.training.train import train
from edge_runtime.models.records import to_plain
from tests.compress.conftest import NETWORKS, stopping_at

BOTH = """
import os, sys
from compress.cli import main

ranks = []
for rank in "01":  # as torchrun starts them, but libraries are loaded once for both
    ranks.append(os.fork())
    if not ranks[-1]:
        os.environ.update(RANK=rank, LOCAL_RANK=rank)
        sys.exit(main(sys.argv[1:]))
sys.exit(sum(os.waitpid(rank, 0)[1] for rank in ranks))
"""
CONFIGS = Path(__file__).parents[2] / "configs"
MakeConfig = Callable[..., DistillConfig]
MakeTeacher = Callable[..., Path]


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.training.state.monotonic", lambda: 0.0)


def _distance(config: DistillConfig, student: Path, teacher: Path) -> float:
    """Mean absolute difference of the two on the validation pictures, in levels of 0 to 255."""
    networks = [load_checkpoint(place).build() for place in (student, teacher)]
    rainy = [pair[1] for pair in config.validation["pairs"].read(config.data_root)]
    found = [
        [derain(network, picture, 4).astype(float) for picture in rainy] for network in networks
    ]
    return float(abs(found[0][0] - found[1][0]).mean())


def test_a_few_steps_bring_the_student_nearer_to_its_teacher(
    distill_config: MakeConfig, make_teacher: MakeTeacher
) -> None:
    teacher = make_teacher()
    values = {"steps": 12, "learning_rate": 0.01, "validate_every": 12, "ema_decay": 0.5}
    config = distill_config(teacher=str(teacher), distill={"clean": 0.25}, **values)
    untrained = distill(
        dataclasses.replace(config, steps=1, learning_rate=1e-9, name="first"), False, False
    )
    taught = distill(config, progress=False)
    alone = distill(dataclasses.replace(config, teacher="", name="alone"), progress=False)
    first, last, control = (
        _distance(config, result.folder / "last.safetensors", teacher)
        for result in (untrained, taught, alone)
    )
    assert last < 0.9 * first
    assert last < control
    made = load_checkpoint(taught.folder / "last.safetensors")
    digest = hashlib.sha256(teacher.read_bytes()).hexdigest()
    assert made.recipe[0].startswith("distill: student from scratch, 12 of 12 steps")
    assert f"teacher wise sha256 {digest}," in made.recipe[0]
    assert made.data == ("dry", "library", "pairs")
    assert made.role == "student"
    names = (taught.folder / "logs/metrics.csv").read_text()
    assert all(f"1,{name}," in names for name in ("loss", "clean", "teacher"))


def test_without_a_teacher_it_is_plain_training(
    distill_config: MakeConfig, train_values: dict[str, Any]
) -> None:
    alone = distill(distill_config(name="alone"), progress=False)
    plain = train(build_config(TrainConfig, {**train_values, "name": "plain"}, ""), progress=False)
    one, two = (load_checkpoint(each.folder / "last.safetensors") for each in (alone, plain))
    assert all(torch.equal(value, two.weights[key]) for key, value in one.weights.items())
    assert one.recipe == two.recipe


@pytest.mark.parametrize("step", [0, 2])
def test_resuming_is_exact(
    distill_config: MakeConfig,
    make_teacher: MakeTeacher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    config = distill_config(teacher=str(make_teacher()), out="runs", ema_decay=0.5)
    folders = []
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        folders.append(tmp_path / name / "runs/tiny")
        if name == "parts":
            with monkeypatch.context() as patch:
                patch.setattr(Learner, "update", stopping_at(step))
                assert distill(config, progress=False).stopped_by == signal.SIGINT
            torch.rand(3)
        distill(config, resume=name == "parts", progress=False)
    for name in ("best.safetensors", "last.safetensors", "state.safetensors", "logs/metrics.csv"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_another_teacher_is_another_run(
    distill_config: MakeConfig, make_teacher: MakeTeacher
) -> None:
    teacher = make_teacher()
    config = distill_config(teacher=str(teacher), steps=2)
    distill(config, progress=False)
    changed = load_checkpoint(teacher)
    weights = {key: value * 1.5 for key, value in changed.weights.items()}
    save_checkpoint(teacher, dataclasses.replace(changed, weights=weights))
    with pytest.raises(ConfigError, match=r"another run \(objective teacher wise .* -> teacher "):
        distill(config, resume=True, progress=False)
    with pytest.raises(ConfigError, match=r"objective teacher .* -> plain\)"):
        distill(dataclasses.replace(config, teacher=""), resume=True, progress=False)


def _unlabelled(config: DistillConfig, rain: str = "unlabelled") -> DistillConfig:
    parts = {
        name: dataclasses.replace(part, rain=rain if part.rain == "none" else part.rain)
        for name, part in config.mixture.parts.items()
    }
    return dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, parts=parts))


def test_unlabelled_parts_need_a_teacher(
    distill_config: MakeConfig, make_teacher: MakeTeacher, caplog: pytest.LogCaptureFixture
) -> None:
    config = _unlabelled(distill_config(steps=2))
    with pytest.raises(ConfigError, match=r"'unlabelled' of 'dry' has no clean pictures to learn"):
        train(config, progress=False)
    assert not Path(config.out).exists()
    distill(dataclasses.replace(config, name="alone"), progress=False)
    assert caplog.messages == [
        "mixture.parts: the unlabelled ones are left out, because there is no teacher"
    ]
    teacher = str(make_teacher())
    assert distill(dataclasses.replace(config, teacher=teacher), progress=False).step == 2
    mute = dataclasses.replace(config, teacher=teacher, distill=DistillationConfig(teacher=0.0))
    with pytest.raises(ConfigError, match="'unlabelled' of 'dry'"):
        distill(dataclasses.replace(mute, name="mute"), progress=False)
    gan = dataclasses.replace(config.adversarial, weight=0.1, depth=2, width=4)
    with pytest.raises(ConfigError, match=r"no clean pictures for the discriminator.*not 0\.1"):
        distill(dataclasses.replace(config, teacher=teacher, adversarial=gan), progress=False)
    last = dict([list(config.mixture.parts.items())[-1]])
    only = dataclasses.replace(config.mixture, parts=last)
    with pytest.raises(ConfigError, match="all are unlabelled; they need a --teacher"):
        distill(dataclasses.replace(config, mixture=only), progress=False)


def test_a_gan_phase_and_parts_of_batches_go_on_working(
    distill_config: MakeConfig, make_teacher: MakeTeacher
) -> None:
    config = distill_config(
        teacher=str(make_teacher("gan_lstm")),
        accumulate=2,
        adversarial={"weight": 0.1, "start": 1, "width": 4, "depth": 2},
    )
    result = distill(config, progress=False)
    lines = (result.folder / "logs/metrics.csv").read_text().splitlines()
    names = {line.split(",")[1] for line in lines}
    assert names >= {"loss", "clean", "teacher", "adversarial", "discriminator"}


@pytest.mark.parametrize(
    ("architecture", "own"), [("rescan", {"stages"}), ("jorder", {"stages", "streaks", "mask"})]
)
def test_a_network_with_losses_of_its_own_teaches_and_is_taught(
    distill_config: MakeConfig, make_teacher: MakeTeacher, architecture: str, own: set[str]
) -> None:
    teacher = make_teacher(architecture)
    small = distill(distill_config(teacher=str(teacher), steps=1), progress=False)
    (line,) = load_checkpoint(small.folder / "last.safetensors").recipe
    assert line.startswith("distill: student from scratch, 1 of 1 steps")
    assert "teacher wise sha256" in line

    values = {"architecture": architecture, "network": NETWORKS[architecture], "steps": 1}
    for weight in (1.0, 0.25):
        weights = {"clean": weight}
        config = distill_config(teacher=str(teacher), distill=weights, name=f"{weight}", **values)
        lines = (distill(config, progress=False).folder / "logs/metrics.csv").read_text()
        logged = dict(line.split(",")[1:] for line in lines.splitlines() if line[:2] == "1,")
        losses = {name: float(logged[name]) for name in own}
        loss, clean, taught = (float(logged[name]) for name in ("loss", "clean", "teacher"))
        # An untrained stage returns the rainy picture.
        assert losses["stages"] == pytest.approx(weight * clean, rel=1e-5)
        wanted = weight * clean + taught + sum(losses.values())
        assert loss == pytest.approx(wanted, rel=1e-5)


def test_two_processes_take_the_steps_of_one(
    distill_config: MakeConfig, make_teacher: MakeTeacher, tmp_path: Path
) -> None:
    config = distill_config(
        teacher=str(make_teacher()),
        batch_size=4,
        accelerator="cpu",
        name="alone",
    )
    distill(config, progress=False)
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump({**to_plain(config), "name": "two", "devices": 2}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "two"}
    done = subprocess.run(
        [sys.executable, "-c", BOTH, "distill", "--config", str(file)],
        capture_output=True, text=True, env={**os.environ, **address, **world}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 steps, best score") == 1
    one, two = (
        load_tensors(tmp_path / f"runs/{run}/state.safetensors")[0] for run in ("alone", "two")
    )
    keys = [key for key in one if key.startswith("network.")]
    assert keys
    for key in keys:
        torch.testing.assert_close(two[key], one[key], atol=2e-5, rtol=1e-3)


def test_kept_results_are_computed_once_for_all_runs(
    distill_config: MakeConfig, make_teacher: MakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = distill_config(teacher=str(make_teacher()), distill={"keep": True, "views": 2})
    distill(config, progress=False)
    kept = sorted(Path(config.out).glob("teacher_outputs/*_x2/*.png"))
    assert len(kept) == 2  # the pairs; the rain of the other parts is new every time
    monkeypatch.setattr("compress.teacher.derain", None)
    assert distill(dataclasses.replace(config, name="again", seed=1), progress=False).step == 4


@pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
def test_compiled_it_takes_the_same_steps(
    distill_config: MakeConfig,
    make_teacher: MakeTeacher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The same graphs without a C++ compiler, which the test of one step of training waits for.
    monkeypatch.setattr("torch.compile", functools.partial(torch.compile, backend="aot_eager"))
    teachers = f"{make_teacher('gan_lstm', stages=1, blocks=1)},{make_teacher()}"
    config = distill_config(teacher=teachers, steps=2, distill={"views": 2}, accelerator="cpu")
    compiled: list[Teacher] = []
    compile_networks = Teacher.compile_networks
    monkeypatch.setattr(
        Teacher,
        "compile_networks",
        lambda teacher: (compiled.append(teacher), compile_networks(teacher)),
    )
    # Another network of the same code, compiled before, must not be taken for this one.
    other = dataclasses.replace(config, distill=DistillationConfig())
    runs = {"other": (other, True), "plain": (config, False), "compiled": (config, True)}
    weights, times = [], []
    for name, (run, flag) in runs.items():
        result = distill(dataclasses.replace(run, compile=flag, name=name), False, False)
        weights.append(load_checkpoint(result.folder / "last.safetensors").weights)
        times.append(len(compiled))
    torch.testing.assert_close(weights[2], weights[1], atol=1e-4, rtol=1e-3)
    assert times == [1, 1, 2]


def test_bad_teachers_leave_nothing_behind(
    distill_config: MakeConfig, make_teacher: MakeTeacher
) -> None:
    large = make_teacher(widths=[8] * 5, encoder_blocks=[0] * 5, decoder_blocks=[0] * 4)
    for teacher, error, message in (
        ("smal", CheckpointError, "'smal': unknown; did you mean 'small'"),
        (str(large), ConfigError, r"crop 16 is not a multiple of 32, as the teacher .*; take 32"),
    ):
        config = distill_config(teacher=teacher)
        with pytest.raises(error, match=message):
            distill(config, progress=False)
        assert not Path(config.out).exists()


def test_students_by_checkpoint_and_by_config(make_teacher: MakeTeacher, tmp_path: Path) -> None:
    shape = to_plain(load_checkpoint(make_teacher()).config)
    network = f"--network={json.dumps(shape)}"
    assert student_options(str(make_teacher())) == ["--architecture=student", network]
    file = tmp_path / "student.yaml"
    values = {"name": "a", "architecture": "student", "network": NETWORKS["student"]}
    file.write_text(yaml.safe_dump(values))
    assert student_options(str(file)) == ["--architecture=student", network]
    file.write_text("name: a\n")
    with pytest.raises(ConfigError, match=r"student\.yaml: names no architecture"):
        student_options(str(file))
    file.write_text("architecture: studen\n")
    with pytest.raises(ConfigError, match="'studen': unknown; did you mean 'student'"):
        student_options(str(file))
    with pytest.raises(CheckpointError, match="'smal': unknown"):
        student_options("smal")


def test_the_command(
    distill_config: MakeConfig,
    make_teacher: MakeTeacher,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, teacher = tmp_path / "run.yaml", str(make_teacher())
    file.write_text(yaml.safe_dump(to_plain(distill_config(steps=2, network={}))))
    command = ["distill", "--config", str(file), "--teacher", teacher, "--student", teacher]
    assert (
        cli.main([*command, "--distill.teacher", "0.5", "--data-root", str(tmp_path / "data")]) == 0
    )
    *_, ended, worth, following = capsys.readouterr().out.splitlines()
    folder = tmp_path / "runs/tiny"
    score = re.match(r"2 steps, best score ([+-][\d.]+) dB", ended)
    assert score
    best = folder / "best.safetensors"
    number = r"[\d.]+"
    assert re.fullmatch(
        rf"tiny: {re.escape(score[1])} dB \(teacher wise [+-]{number}\), {number} kMAC/pixel, "
        rf"about {number} kB as ONNX, {number} ms \(torch in float, .*\): {best}",
        worth,
    )
    assert following == f"next: derain-export onnx {best} -o artifacts"
    config = load_config(DistillConfig, folder / "config.yaml")
    assert (config.distill.teacher, config.teacher) == (0.5, teacher)
    assert load_checkpoint(folder / "best.safetensors").config == load_checkpoint(teacher).config
    assert cli.main([*command, "--distill.teacher=0.5", "--resume"]) == 0
    capsys.readouterr()
    for extra, code, message in (
        ([], 2, "holds a run already; add --resume"),
        (["--teacher", "smal"], 1, "'smal': unknown"),
        (["--teecher", "small"], 2, "did you mean 'teacher'"),
        (["--distill.views", "3"], 2, "must be one of 1, 2, 4, 8"),
    ):
        assert cli.main([*command, *extra]) == code
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.startswith("compress: error: ")
        assert captured.err.count("\n") == 1


def test_help_lists_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "train a student under a teacher" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["distill", "--help"])
    out = capsys.readouterr().out
    assert "--student CKPT" in out
    assert "--distill.views" in out


def test_the_config_of_a_first_student_is_valid() -> None:
    config = load_config(DistillConfig, CONFIGS / "own_folder.yaml")
    assert config.teacher == ""  # so that the same file makes the control
