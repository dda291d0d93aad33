import numpy as np
import pytest
import torch
from torch import nn

from core.checkpoint import Checkpoint
from core.inference import derain, derainer_of, pad_to_multiple
from core.networks.student import StudentConfig, StudentNet


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


def test_legal_sizes_are_passed_on() -> None:
    batch = torch.rand(2, 3, 16, 24)
    assert pad_to_multiple(batch, 8) is batch
    assert pad_to_multiple(batch, 5).shape == (2, 3, 20, 25)


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
        monkeypatch.setattr("core.precision.has_bfloat16", lambda accelerator, found=found: found)
        np.testing.assert_array_equal(derainer_of(checkpoint, "auto")(rainy), wanted)
