import dataclasses
import hashlib
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.checkpoint import load_checkpoint
from core.config import build_config, load_config
from core.errors import ConfigError, TrainingError
from core.inference import derainer_of
from core.training import learner as learner_module
from core.training.config import TrainConfig
from core.training.learner import Learner
from core.training.losses import AdversarialConfig
from core.training.state import read_progress, sole_run
from core.training.train import StopRequest, TrainResult, train
from edge_runtime.pictures.picture import read_picture
from tests.helpers import score_set

WRITTEN = ("best.safetensors", "last.safetensors", "state.safetensors", "logs/metrics.csv")


@pytest.fixture
def config(train_values: dict[str, Any]) -> TrainConfig:
    values = {**train_values, "steps": 6, "out": "runs"}
    return build_config(TrainConfig, values, "config")


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of the same config shall write the same bytes; how long they took is in them."""
    monkeypatch.setattr("core.training.state.monotonic", lambda: 0.0)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Work in a folder of its own, so that two runs have the very same config."""

    def enter(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        return folder / "runs/tiny"

    return enter


def _signalled(patch: pytest.MonkeyPatch, step: int, number: int, times: int = 1) -> None:
    """Raise signals right after the update that follows ``step`` finished ones."""
    update = Learner.update

    def updated(self: Learner, batch: Any, at: int) -> Any:
        loss = update(self, batch, at)
        for _ in range(times if at == step else 0):
            signal.raise_signal(number)
        return loss

    patch.setattr(Learner, "update", updated)


def _run(config: TrainConfig, resume: bool = False) -> TrainResult:
    return train(config, resume=resume, progress=False)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    """Return the hashes of what a run writes, whose differences pytest can print."""
    return {name: _sha256(folder / name) for name in WRITTEN}


def test_a_run_leaves_what_it_says(config: TrainConfig, inside) -> None:
    folder = inside("a")
    result = _run(config)
    assert result.folder.resolve() == folder
    assert (result.step, result.stopped_by) == (6, None)
    assert load_config(TrainConfig, folder / "config.yaml") == config
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors",
        "config.yaml",
        "last.safetensors",
        "logs",
        "state.previous.safetensors",
        "state.safetensors",
    ]
    (events,) = (folder / "logs").glob("events.out.tfevents.*")
    for name, test_set in config.validation.items():
        _, rainy, clean = next(iter(test_set.read(config.data_root)))
        strip = read_picture(folder / f"logs/{name}.png").rgb
        width = rainy.shape[1]
        np.testing.assert_array_equal(strip[:, :width], rainy)
        np.testing.assert_array_equal(strip[:, -width:], clean)
        assert strip.shape == (rainy.shape[0], 3 * width + 8, 3)
    assert read_picture(folder / "logs/curves.png").rgb.std() > 5
    told = EventAccumulator(str(events))
    told.Reload()
    assert [event.step for event in told.Images("light")] == [2, 4, 6]
    rows = [line.split(",") for line in (folder / "logs/metrics.csv").read_text().splitlines()]
    assert [row[0] for row in rows if row[1] == "loss"] == ["1", "2", "3", "4", "5", "6"]
    scores = {int(row[0]): float(row[2]) for row in rows if row[1] == "score"}
    assert sorted(scores) == [2, 4, 6]
    assert result.score == max(scores.values())
    assert {row[1] for row in rows} >= {
        "learning_rate",
        "waiting",
        "pairs/rgb_psnr",
        "light/y_ssim",
    }


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_score_is_the_mean_gain_and_best_is_kept(
    config: TrainConfig, inside, precision: Literal["32-true", "bf16-mixed"]
) -> None:
    config = dataclasses.replace(config, precision=precision)
    folder = inside("a")
    result = _run(config)
    best = load_checkpoint(folder / "best.safetensors")
    gains = []
    for test_set in config.validation.values():
        pairs = [pair[1:] for pair in test_set.read(config.data_root)]
        rows = score_set(derainer_of(best, precision), "x", pairs)  # in the precision of the run
        gains.append(rows[0].psnr - rows[0].input_psnr)
    assert result.score == pytest.approx(sum(gains) / 2, abs=1e-9)


def _undisturbed(
    config: TrainConfig, inside: Callable[[str], Path]
) -> tuple[TrainResult, Path, Path]:
    """Run to the end, then enter another folder; returns the result and both run folders."""
    whole = inside("whole")
    result = _run(config)
    return result, whole, inside("parts")


@pytest.mark.parametrize(
    ("step", "number", "optimizer"),
    [
        (0, signal.SIGINT, "adamw"),
        (2, signal.SIGINT, "muon"),
        (3, signal.SIGTERM, "adamw"),
        (0, signal.SIGTERM, "muon"),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    config: TrainConfig,
    inside,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    number: int,
    optimizer: Literal["adamw", "muon"],
) -> None:
    config = dataclasses.replace(config, optimizer=optimizer)
    uninterrupted, whole, parts = _undisturbed(config, inside)
    with monkeypatch.context() as patch:
        _signalled(patch, step, number)
        stopped = _run(config)
    assert (stopped.step, stopped.stopped_by, stopped.exit_code) == (step + 1, number, 128 + number)
    assert read_progress(parts / "state.safetensors")["step"] == step + 1
    torch.rand(7)  # whatever else the process draws must not matter
    resumed = _run(config, resume=True)
    assert (resumed.step, resumed.score) == (6, uninterrupted.score)
    assert _files(parts) == _files(whole)


def test_a_second_signal_stops_at_once_and_the_last_state_is_good(
    config: TrainConfig, inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, parts = _undisturbed(config, inside)
    with monkeypatch.context() as patch:
        _signalled(patch, 4, signal.SIGINT, times=2)
        with pytest.raises(KeyboardInterrupt):
            _run(config)
    assert read_progress(parts / "state.safetensors")["step"] == 4
    _run(config, resume=True)
    assert _files(parts) == _files(whole)


def test_a_failure_leaves_the_last_state_and_says_what_to_do(
    config: TrainConfig, inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, parts = _undisturbed(config, inside)
    with monkeypatch.context() as patch:
        loss, calls = learner_module.reconstruction_loss, []

        def spoiled(*arguments: Any) -> Any:
            calls.append(0)
            return loss(*arguments) * (float("nan") if len(calls) == 4 else 1)

        patch.setattr(learner_module, "reconstruction_loss", spoiled)
        with pytest.raises(TrainingError, match="not finite at step 4, loss nan"):
            _run(config)
    assert read_progress(parts / "state.safetensors")["step"] == 2
    _run(config, resume=True)
    assert _files(parts) == _files(whole)


def test_a_signal_in_the_last_step_stops_nothing(
    config: TrainConfig, inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside("a")
    _signalled(monkeypatch, 5, signal.SIGINT)
    result = _run(config)
    assert (result.step, result.stopped_by) == (6, None)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_worker_processes_change_nothing(config: TrainConfig, inside) -> None:
    folder = inside("alone")
    _run(config)
    helped = inside("helped")
    _run(dataclasses.replace(config, workers=1))
    name = "best.safetensors"
    assert _sha256(helped / name) == _sha256(folder / name)


def test_a_finished_run_resumes_to_nothing(config: TrainConfig, inside) -> None:
    folder = inside("a")
    first = _run(config)
    before = _files(folder)
    again = _run(config, resume=True)
    assert again == first
    assert _files(folder) == before


def test_a_finished_run_goes_on_to_more_steps_and_an_unfinished_does_not(
    config: TrainConfig, inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = inside("a")
    _run(config)
    longer = dataclasses.replace(config, steps=9)
    with monkeypatch.context() as patch:
        _signalled(patch, 7, signal.SIGINT)
        assert _run(longer, resume=True).step == 8
    with pytest.raises(ConfigError, match=r"another run \(steps 9 -> 12\)"):
        _run(dataclasses.replace(config, steps=12), resume=True)
    assert _run(longer, resume=True).step == 9
    rows = [line.split(",") for line in (folder / "logs/metrics.csv").read_text().splitlines()]
    rates = [float(row[2]) for row in rows if row[1] == "learning_rate"]
    assert rates[6:] == [longer.learning_rate_at(step) for step in (6, 7, 8)]


def test_a_folder_takes_one_run_at_a_time(config: TrainConfig, inside) -> None:
    folder = inside("a")
    folder.mkdir(parents=True)
    with (
        sole_run(folder),
        pytest.raises(ConfigError, match="another process trains in it"),
    ):
        _run(config)
    assert _run(config).step == 6


def test_every_validation_is_told(
    config: TrainConfig, inside, capsys: pytest.CaptureFixture[str]
) -> None:
    inside("a")
    train(config)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 2", "step 4", "step 6"]
    for line in lines:
        assert re.search(r": score [+-][\d.]+ dB( \(best\))?: pairs [\d.]+, light [\d.]+$", line)


def test_free_fields_may_change_and_others_not(
    config: TrainConfig, inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = inside("a")
    with monkeypatch.context() as patch:
        _signalled(patch, 1, signal.SIGINT)
        _run(config)
    before = _files(folder)
    other = dataclasses.replace(config, learning_rate=0.5, seed=3)
    with pytest.raises(
        ConfigError, match=r"another run \(learning_rate 0\.001 -> 0\.5, seed 0 -> 3"
    ):
        _run(other, resume=True)
    assert _files(folder) == before
    assert _run(dataclasses.replace(config, log_every=5), resume=True).step == 6


def test_a_torn_state_falls_back_to_the_one_before(
    config: TrainConfig, inside, caplog: pytest.LogCaptureFixture
) -> None:
    _, whole, parts = _undisturbed(config, inside)
    _run(config)
    state = parts / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    assert _run(config, resume=True).step == 6
    assert _files(parts) == _files(whole)
    (message,) = caplog.messages
    assert re.match(r"\S+/state\.safetensors: torn.*going on from \S+previous\.sa", message)


def test_a_state_that_was_lost_falls_back_too(config: TrainConfig, inside) -> None:
    folder = inside("a")
    _run(config)
    (folder / "state.safetensors").unlink()
    with pytest.raises(ConfigError, match="holds a run already"):
        _run(config)
    assert _run(config, resume=True).step == 6


@pytest.fixture
def gan(config: TrainConfig) -> TrainConfig:
    adversarial = AdversarialConfig(weight=0.1, start=3, width=4, depth=2)
    return dataclasses.replace(config, adversarial=adversarial)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_gan_phase_resumes_exactly(
    gan: TrainConfig, inside, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    uninterrupted, whole, parts = _undisturbed(gan, inside)
    with monkeypatch.context() as patch:
        _signalled(patch, step, signal.SIGINT)
        _run(gan)
    resumed = _run(gan, resume=True)
    assert resumed == uninterrupted
    names = ("before_gan.safetensors", *WRITTEN)
    assert [_sha256(parts / name) for name in names] == [_sha256(whole / name) for name in names]


def test_the_bar_ends_at_the_best_score(
    config: TrainConfig, inside, capsys: pytest.CaptureFixture[str]
) -> None:
    inside("bar")
    result = train(dataclasses.replace(config, steps=2))
    shown = re.findall(r"best=([+-][\d.]+) dB", capsys.readouterr().err)[-1]
    assert f"best score {shown} dB" in result.summary[0]


def test_before_and_after_the_gan_phase(config: TrainConfig, gan: TrainConfig, inside) -> None:
    config, gan = (dataclasses.replace(each, learning_rate=0.02) for each in (config, gan))
    plain = inside("plain")
    _run(dataclasses.replace(config, save_every=3, validate_every=3))
    three = inside("three")
    result = _run(gan)
    scores = _values(three, "score")
    assert scores[3] == _values(plain, "score")[3]
    assert scores[6] != _values(plain, "score")[6]
    ended, gan_phase = result.summary
    assert ended.startswith(f"6 steps, best score {max(scores.values()):+.2f} dB: runs/tiny/best.s")
    assert gan_phase == (
        f"score before the GAN phase {scores[3]:+.2f} dB (before_gan.safetensors), "
        f"after it {scores[6]:+.2f} dB (last.safetensors)"
    )
    assert result.exit_code == 0
    assert sorted(_values(three, "adversarial")) == [4, 5, 6]
    assert sorted(_values(three, "discriminator")) == [4, 5, 6]
    before = load_checkpoint(three / "before_gan.safetensors")
    assert "3 of 6 steps" in before.recipe[0]
    assert "adversarial" not in before.recipe[0]
    after = load_checkpoint(three / "last.safetensors").recipe[0]
    assert after.endswith("adversarial loss from step 3")


def _values(folder: Path, name: str) -> dict[int, float]:
    rows = [line.split(",") for line in (folder / "logs/metrics.csv").read_text().splitlines()]
    return {int(row[0]): float(row[2]) for row in rows if row[1] == name}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_raises(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest() as stop:
        assert stop.requested is None
        signal.raise_signal(number)
        assert stop.requested == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    inside = []

    def work() -> None:
        with StopRequest() as stop:
            inside.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [(None, before)]
