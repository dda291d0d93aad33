"""Several processes take the steps of one; what is not there is refused."""

import csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from core.checkpoint import load_checkpoint
from core.config import build_config
from core.errors import ConfigError
from core.training.config import TrainConfig
from core.training.devices import hardware, make_fabric
from core.training.train import train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def _losses(folder: Path) -> dict[int, float]:
    with (folder / "logs/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): float(row["value"]) for row in rows if row["name"] == "loss"}


SCRIPT = """
import atexit, os, sys
from pathlib import Path
from torch import distributed

def say():  # each process into a file of its own: lines of two at once may mix
    Path({place!r}, "exit" + os.environ["RANK"]).write_text(str(distributed.is_initialized()))

atexit.register(say)  # the first that is registered is called last

from core.cli import main

code = main({arguments!r})
Path({place!r}, "end" + os.environ["RANK"]).write_text(str(distributed.is_initialized()))
sys.exit(code)
"""


def test_two_processes_take_the_steps_of_one(train_values: dict[str, Any], tmp_path: Path) -> None:
    values = {**train_values, "batch_size": 4, "accelerator": "cpu"}
    alone = build_config(TrainConfig, {**values, "name": "alone"}, "config")
    train(alone, progress=False)
    config, script = tmp_path / "two.yaml", tmp_path / "two.py"
    config.write_text(yaml.safe_dump({**values, "name": "two", "devices": 2, "accumulate": 2}))
    arguments = ["train", "--config", str(config)]
    script.write_text(SCRIPT.format(place=str(tmp_path), arguments=arguments))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 steps, best score") == 1  # only one of them speaks
    # A process leaves the others before it exits.
    assert [(tmp_path / f"end{rank}").read_text() for rank in (0, 1)] == ["True", "True"]
    assert [(tmp_path / f"exit{rank}").read_text() for rank in (0, 1)] == ["False", "False"]

    runs = tmp_path / "runs"
    assert _losses(runs / "two") == pytest.approx(_losses(runs / "alone"), abs=1e-6)
    one, two = (load_checkpoint(runs / name / "last.safetensors") for name in ("alone", "two"))
    for key, value in one.weights.items():
        torch.testing.assert_close(two.weights[key], value, atol=2e-5, rtol=1e-3)
    assert (one.cost.hardware, two.cost.hardware) == ("1 CPU thread", "2 x 1 CPU thread")


def test_devices_that_are_not_there(train_values: dict[str, Any]) -> None:
    config = build_config(TrainConfig, {**train_values, "accelerator": "cuda"}, "config")
    if torch.cuda.is_available():
        config = dataclasses.replace(config, devices=1000, batch_size=1000)
    with pytest.raises(ConfigError, match=r"^accelerator cuda, devices \d+: [^\n]+$"):
        make_fabric(config)


def test_other_processes_than_devices_are_refused(
    train_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build_config(TrainConfig, {**train_values, "accelerator": "cpu"}, "config")
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets it
    with pytest.raises(ConfigError, match="devices 1 x num_nodes 1: 2 processes were started"):
        make_fabric(config)


def test_threads_are_set_and_named(train_values: dict[str, Any]) -> None:
    config = build_config(TrainConfig, {**train_values, "accelerator": "cpu"}, "config")
    before = torch.get_num_threads()
    try:
        assert hardware(make_fabric(dataclasses.replace(config, threads=2))) == "2 CPU threads"
        assert hardware(make_fabric(dataclasses.replace(config, threads=1))) == "1 CPU thread"
    finally:
        torch.set_num_threads(before)
