"""``precision: auto`` takes what the device has instructions for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from core.config import build_config
from core.precision import has_bfloat16
from core.training.config import TrainConfig
from core.training.devices import make_fabric
from core.training.learner import Learner

X86 = "model name\t: Xeon, said to have amx_bf16\nflags\t\t: fpu avx512f {}\nbugs\t: bf16\n"
ARM = "Features\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(("text", "flag"), [(X86, "avx512_bf16"), (X86, "amx_bf16"), (ARM, "bf16")])
def test_flags_of_processors(
    text: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr("core.precision._PROCESSOR", file)
    assert not has_bfloat16("cpu")  # there is no such file
    file.write_text(text.format(""))
    assert not has_bfloat16("cpu")
    file.write_text(text.format(flag))
    assert has_bfloat16("cpu")
    assert not has_bfloat16("mps")


@pytest.mark.parametrize(("capability", "found"), [((7, 5), False), ((8, 0), True)])
def test_generations_of_gpus(
    capability: tuple[int, int], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    assert has_bfloat16("auto") is found


@pytest.mark.parametrize(("found", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_run_takes_it_and_says_so(
    found: bool, precision: str, train_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.precision.has_bfloat16", lambda accelerator: found)
    config = build_config(TrainConfig, {**train_values, "precision": "auto"}, "config")
    assert make_fabric(config)._precision.precision == precision
    assert f", {precision}, seed" in Learner(config).checkpoint(0, 0.0).recipe[-1]
    fixed = dataclasses.replace(config, precision="32-true")
    assert ", 32-true, seed" in Learner(fixed).checkpoint(0, 0.0).recipe[-1]
