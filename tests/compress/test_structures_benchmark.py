"""The table of structures compares what it says, at equal cost, and measures it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks import structures
from benchmarks.structures import VARIANTS, Branched, Variant, VariantConfig
from compress.cost import macs_per_pixel
from core.networks import ARCHITECTURES
from core.networks.student import StudentNet
from core.training.log import last_values

RAINY = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
TINY: dict[str, Any] = {"widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1,)}


def _variant(**changes: Any) -> Variant:
    torch.manual_seed(0)
    network = Variant(VariantConfig(**TINY, **changes))
    torch.nn.init.normal_(network.exit.weight, std=0.3)
    return network


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_cost_as_much_as_the_plain_one(name: str) -> None:
    costs = [macs_per_pixel(Variant(VARIANTS[each]).folded(), 16) for each in (name, "plain")]
    assert costs[0] == pytest.approx(costs[1], rel=0.05)
    untrained = Variant(VARIANTS[name])
    assert torch.equal(untrained(RAINY), RAINY)
    torch.nn.init.normal_(untrained.exit.weight)
    untrained(RAINY).mean().backward()
    without = [name for name, weight in untrained.named_parameters() if weight.grad is None]
    assert without == []  # every layer takes part


def test_plain_is_the_shipped_structure() -> None:
    network = _variant()
    shipped = StudentNet(network.config)
    shipped.load_state_dict(network.state_dict())
    assert torch.equal(network(RAINY), shipped(RAINY))


def test_branches_fold_into_one_convolution() -> None:
    network = _variant(block="branched")
    folded = network.folded()
    assert not any(isinstance(module, Branched) for module in folded.modules())
    torch.testing.assert_close(folded(RAINY), network(RAINY), atol=1e-5, rtol=0)
    assert not torch.allclose(folded(RAINY), _variant()(RAINY), atol=1e-2)
    plain = _variant(block="depthwise")
    assert plain.folded() is plain


def test_skips_are_what_they_say() -> None:
    network = _variant(skip="none")
    seen: list[torch.Tensor] = []
    network.decoder[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    network.up[0].register_forward_hook(lambda *given: seen.append(given[2]))
    network(RAINY)
    torch.testing.assert_close(seen[1], torch.relu(seen[0]))
    joined = _variant(skip="concatenate")
    merged: list[torch.Tensor] = []
    joined.merge[0].register_forward_pre_hook(lambda _, x: merged.append(x[0]))
    joined(RAINY)
    assert merged[0].shape[1] == 16


def test_a_later_stage_sees_the_one_before_and_the_picture() -> None:
    network = _variant(stages=2, base=True)
    seen: list[torch.Tensor] = []
    network.entry.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    network(RAINY)
    assert len(seen) == 2
    assert torch.equal(seen[0][:, :3], RAINY)
    assert not torch.allclose(seen[1][:, :3], RAINY, atol=1e-3)
    assert torch.equal(seen[1][:, 3:6], RAINY)
    assert (seen[1][:, 6:] - RAINY).abs().mean() > 0.01  # smoothed


def test_the_table_says_what_the_runs_measured(
    tmp_path: Path,
    train_values: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(structures, "VARIANTS", {"plain": VariantConfig(**TINY), "no skips": _NONE})
    monkeypatch.setattr(structures, "TIMED", (1, 3, 32, 32))
    config = tmp_path / "short.yaml"
    values = {
        **train_values,
        "steps": 3,
        "learning_rate": 0.02,
        "warmup_steps": 0,
        "ema_decay": 0.0,
    }
    config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    arguments = ["--config", str(config), "--out", str(tmp_path / "out"), "--seeds", "3", "5"]
    assert structures.main(arguments) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["plain", "no skips"]
    for line, name in zip(lines[2:], ("plain", "no_skips"), strict=True):
        folders = [tmp_path / f"out/student_{name}_{seed}" for seed in (3, 5)]
        scores = [last_values(folder / "logs") for folder in folders]
        assert scores[0] != scores[1]
        names = list(train_values["validation"])
        means = [sum(score[f"{each}/rgb_psnr"] for score in scores) / 2 for each in names]
        assert [cell.strip() for cell in line.split("|")[5:-1]] == [f"{m:.2f}" for m in means]
    assert not any(name.startswith("student_") for name in ARCHITECTURES)

    before = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("state.safetensors"))]
    assert structures.main(arguments) == 0
    after = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("state.safetensors"))]
    assert (len(before), before) == (4, after)


def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(tmp_path / "none.yaml"), "--seeds", "0"]
    assert structures.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("structures: ")
    assert error.count("\n") == 1


_NONE = VariantConfig(**TINY, skip="none")
