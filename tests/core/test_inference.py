import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.checkpoint import Checkpoint
from core.config import build_config
from core.inference import SelfEnsemble, derain, derainer_of, has_bfloat16
from core.networks.student import StudentConfig, StudentNet
from core.training.config import TrainConfig
from core.training.devices import make_fabric
from core.training.learner import Learner


class _Probe(nn.Module):
    """Adds a bias and remembers the batch that it saw."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        self.seen = rainy
        return rainy + self.bias


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (7, 9), (16, 8), (33, 31)])
def test_any_size_is_padded_as_numpy_does_and_cropped_again(size: tuple[int, int]) -> None:
    rainy = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8, endpoint=True)
    probe = _Probe()
    np.testing.assert_array_equal(derain(probe, rainy, 8), rainy)
    bottom, right = -size[0] % 8, -size[1] % 8
    # exactly what edge_runtime.Derainer feeds its engine
    wanted = np.pad(rainy, ((0, bottom), (0, right), (0, 0)), mode="edge").astype(np.float32) / 255
    np.testing.assert_array_equal(probe.seen[0].permute(1, 2, 0).numpy(), wanted)


def test_results_are_clamped_and_rounded_half_up() -> None:
    rainy = np.array([[[0, 128, 255]]], np.uint8)
    np.testing.assert_array_equal(derain(_Probe(2.0), rainy, 1), [[[255] * 3]])
    np.testing.assert_array_equal(derain(_Probe(-2.0), rainy, 1), [[[0] * 3]])
    np.testing.assert_array_equal(derain(_Probe(0.51 / 255), rainy, 1), [[[1, 129, 255]]])
    np.testing.assert_array_equal(derain(_Probe(0.49 / 255), rainy, 1), rainy)


def test_views_and_read_only_pictures() -> None:
    rainy = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    rainy.flags.writeable = False
    np.testing.assert_array_equal(derain(_Probe(), rainy[:, ::-1], 4), rainy[:, ::-1])
    derained = derain(_Probe(), rainy, 4)
    assert derained.flags.c_contiguous
    assert derained.flags.writeable


def test_a_large_picture_is_derained_as_the_device_does() -> None:
    """At half the size first: a probe that adds one level there adds another at full size."""
    rainy = np.random.default_rng(0).integers(0, 200, (40, 1800, 3), np.uint8)
    probe = _Probe(3 / 255)
    derained = derain(probe, rainy, 8)
    np.testing.assert_array_equal(derained, rainy + 6)
    assert probe.seen.shape == (1, 3, 40, 1800)
    np.testing.assert_array_equal(derain(probe, rainy[:, :1799], 8), rainy[:, :1799] + 3)


def test_a_checkpoint_becomes_a_function_of_one_picture() -> None:
    config = StudentConfig(widths=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1,))
    network = StudentNet(config)
    nn.init.normal_(network.exit.weight, std=0.05)
    checkpoint = Checkpoint("a", "student", "student", config, network.state_dict())
    rainy = np.random.default_rng(0).integers(0, 255, (7, 9, 3), np.uint8)
    derained = derainer_of(checkpoint)(rainy)
    np.testing.assert_array_equal(derained, derain(network, rainy, config.size_multiple))
    assert (derained != rainy).any()


def test_half_precision_moves_a_picture_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = StudentNet(StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=()))
    nn.init.normal_(net.exit.weight, std=0.05)
    checkpoint = Checkpoint("a", "student", "student", net.config, net.state_dict())
    rainy = np.random.default_rng(0).integers(0, 255, (33, 47, 3), np.uint8, endpoint=True)
    exact = derainer_of(checkpoint)(rainy).astype(int)
    halved = derainer_of(checkpoint, "bf16-mixed")(rainy).astype(int)
    assert abs(exact - rainy).max() > 20
    assert 0 < abs(exact - halved).max() <= 2
    for found, wanted in ((True, halved), (False, exact)):
        monkeypatch.setattr("core.inference.has_bfloat16", lambda accelerator, found=found: found)
        np.testing.assert_array_equal(derainer_of(checkpoint, "auto")(rainy), wanted)


X86 = "model name\t: Xeon, said to have amx_bf16\nflags\t\t: fpu avx512f {}\nbugs\t: bf16\n"
ARM = "Features\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(("text", "flag"), [(X86, "avx512_bf16"), (X86, "amx_bf16"), (ARM, "bf16")])
def test_flags_of_processors(text: str, flag: str, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    assert not has_bfloat16("cpu", info=file)  # there is no such file
    file.write_text(text.format(""))
    assert not has_bfloat16("cpu", info=file)
    file.write_text(text.format(flag))
    assert has_bfloat16("cpu", info=file)
    assert not has_bfloat16("mps", info=file)


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
    monkeypatch.setattr("core.inference.has_bfloat16", lambda accelerator: found)
    config = build_config(TrainConfig, {**train_values, "precision": "auto"}, "config")
    with make_fabric(config).autocast():
        assert torch.is_autocast_enabled("cpu") is found
    assert f", {precision}, seed" in Learner(config).checkpoint(0, 0.0).recipe[-1]
    fixed = dataclasses.replace(config, precision="32-true")
    assert ", 32-true, seed" in Learner(fixed).checkpoint(0, 0.0).recipe[-1]


RAINY = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)


def _by_hand(network: nn.Module, rainy: Tensor, views: int) -> Tensor:
    def mirrored(picture: Tensor) -> Tensor:
        return (network(picture) + network(picture.flip(3)).flip(3)) / 2

    def upside_down(picture: Tensor) -> Tensor:
        return (mirrored(picture) + mirrored(picture.flip(2)).flip(2)) / 2

    if views == 8:
        turned = upside_down(rainy.transpose(2, 3)).transpose(2, 3)
        return (upside_down(rainy) + turned) / 2
    return {1: network, 2: mirrored, 4: upside_down}[views](rainy)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_views_are_the_mean_by_hand(views: int) -> None:
    network = _network(0)
    ensemble = SelfEnsemble([network], views)  # type: ignore[arg-type]
    wanted = _by_hand(network, RAINY, views)
    torch.testing.assert_close(ensemble(RAINY), wanted, atol=1e-6, rtol=0)
    others = [_by_hand(network, RAINY, other) for other in (1, 2, 4, 8) if other != views]
    assert not any(torch.allclose(wanted, other, atol=1e-3) for other in others)


def test_networks_are_averaged() -> None:
    both = SelfEnsemble([_network(0), _network(1)], 4)
    wanted = (_by_hand(_network(0), RAINY, 4) + _by_hand(_network(1), RAINY, 4)) / 2
    torch.testing.assert_close(both(RAINY), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_the_picture_as_it_is_comes_last_and_to_the_first_network(views: int) -> None:
    seen: list[tuple[int, Tensor]] = []
    networks = [_network(0), _network(1)]
    for index, network in enumerate(networks):
        network.register_forward_pre_hook(lambda _, x, index=index: seen.append((index, x[0])))
    SelfEnsemble(networks, views)(RAINY)  # type: ignore[arg-type]
    assert len(seen) == 2 * views
    assert seen[-1][0] == 0
    assert torch.equal(seen[-1][1], RAINY)
