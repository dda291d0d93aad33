"""Averaging weights: the arithmetic, what is recorded, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.cli import main
from core.errors import CheckpointError
from core.networks.student import StudentConfig, StudentNet
from core.quantization import Quantization
from core.training.average import average
from edge_runtime.errors import UsageError

_CONFIG = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())


def _checkpoint(value: float, name: str, *data: str) -> Checkpoint:
    weights = {
        key: torch.full_like(tensor, value)
        for key, tensor in StudentNet(_CONFIG).state_dict().items()
    }
    return Checkpoint(
        name, "student", "student", _CONFIG, weights, recipe=(f"train {name}",), data=data
    )


def test_shares_are_divided_by_their_sum() -> None:
    mixed = average([_checkpoint(1.0, "a", "x"), _checkpoint(4.0, "b", "y", "x")], [1, 2])
    assert all(torch.equal(w, torch.full_like(w, 3.0)) for w in mixed.weights.values())
    assert all(w.dtype == torch.float32 for w in mixed.weights.values())
    assert (mixed.name, mixed.data, mixed.cost) == ("b", ("x", "y"), None)
    assert mixed.recipe == ("train b", "average: 0.333 of a (train a), 0.667 of b (train b)")


def test_equal_shares_are_the_default() -> None:
    mixed = average([_checkpoint(value, "a") for value in (1.0, 2.0, 6.0)])
    assert all(torch.allclose(w, torch.full_like(w, 3.0)) for w in mixed.weights.values())


def test_what_cannot_be_averaged() -> None:
    one, two = _checkpoint(1.0, "one"), _checkpoint(2.0, "two")
    with pytest.raises(UsageError, match="average of 1 checkpoint; name at least two"):
        average([one])
    for shares in ([1.0], [1.0, 0.0], [1.0, -1.0]):
        with pytest.raises(UsageError, match=r"shares 1.*one above 0 for each of 2"):
            average([one, two], shares)
    wider = StudentConfig(widths=(16,), encoder_blocks=(1,), decoder_blocks=())
    other = dataclasses.replace(two, config=wider, weights=StudentNet(wider).state_dict())
    with pytest.raises(CheckpointError, match=r"one: is student .*8.*, not student .*16"):
        average([one, other])
    half = dataclasses.replace(one, quantization=Quantization("fp16"))
    with pytest.raises(CheckpointError, match="one: is quantized"):
        average([half, two])
    torn = dataclasses.replace(one, weights={})
    with pytest.raises(CheckpointError, match="missing from"):
        average([torn, two])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path, value in zip(paths, (1.0, 2.0), strict=True):
        save_checkpoint(path, _checkpoint(value, path.stem))
    out = tmp_path / "c.safetensors"
    command = ["average", *map(str, paths), "-o", str(out), "--shares", "3", "1"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"b (student): {out}\n"
    assert load_checkpoint(out).weights["exit.bias"].tolist() == [1.25] * 3
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
