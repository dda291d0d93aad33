"""L2 and Taylor importance against sums and numerical derivatives, and on planted channels."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.pruning.dependencies import Axis, find_axes
from compress.pruning.importance import l2_importance, read_batches, taylor_importance
from core.config import build_config
from core.errors import ConfigError
from core.mixture.dataset import MixtureDataset, Sample, to_float
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.student import StudentConfig, StudentNet
from core.training.config import TrainConfig
from core.training.losses import LossConfig, reconstruction_loss

CONFIG = StudentConfig((16,), (1,), ())
LOSS = LossConfig()
INNER = "encoder.0.0.first"


def sample(seed: int) -> Sample:
    pictures = torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (2, 2, 3, 16, 16), np.uint8)
    )
    return Sample(pictures[0], pictures[1], torch.zeros(2, dtype=torch.int64), torch.empty(2, 0))


def student() -> Any:
    torch.manual_seed(0)
    net = StudentNet(CONFIG).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.05, 0.1)
    return net


def inner_axis(net: nn.Module) -> Axis:
    return next(axis for axis in find_axes(net, 2) if axis.name == INNER)


def test_taylor_equals_the_derivative_of_scaling_a_channel() -> None:
    net, batches = student(), [sample(0), sample(1)]
    axis = inner_axis(net)
    (found,) = taylor_importance(net, [axis], batches, LOSS)
    assert all(parameter.grad is None for parameter in net.parameters())

    def loss(channel: int, scale: float, batch: Sample) -> float:
        scaled = copy.deepcopy(net).double()
        block = scaled.encoder[0][0]
        for part in (
            block.first.weight[channel],
            block.first.bias,
            block.second.weight[:, channel],
        ):
            part.data[channel if part.dim() == 1 else ...] *= scale
        derained = scaled(to_float(batch.rainy).double())
        return float(reconstruction_loss(derained, to_float(batch.clean).double(), LOSS).detach())

    for channel in (0, 5, 15):
        step = 1e-4
        slopes = [
            (loss(channel, 1 + step, batch) - loss(channel, 1 - step, batch)) / (2 * step)
            for batch in batches
        ]
        assert float(found[channel]) == pytest.approx(sum(s * s for s in slopes), rel=1e-3)


def test_taylor_of_a_single_stage_whose_hidden_state_nobody_reads() -> None:
    torch.manual_seed(0)
    net = GanLstm(GanLstmConfig(width=6, stages=1, blocks=1, radius=1))
    axes = find_axes(net, 1)
    for axis, found in zip(axes, taylor_importance(net, axes, [sample(0)], LOSS), strict=True):
        assert found.shape == (axis.width,)
        assert torch.isfinite(found).all()
        assert found.max() > 0


def test_l2_is_the_share_of_the_squared_norms_that_are_no_smaller() -> None:
    net = student()
    (found,) = l2_importance([inner_axis(net)])
    block = net.encoder[0][0]
    norms = (block.first.weight**2).sum((1, 2, 3)) + block.first.bias**2
    norms = (norms + (block.second.weight**2).sum((0, 2, 3))).tolist()
    wanted = [norm / sum(other for other in norms if other >= norm) for norm in norms]
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)
    assert max(found) == 1


def test_l2_of_nothing_is_nothing() -> None:
    net = student()
    for parameter in net.encoder.parameters():
        nn.init.zeros_(parameter)
    (found,) = l2_importance([inner_axis(net)])
    assert found.tolist() == [0] * 16


def planted(small: list[int], dead: list[int]) -> Any:
    """Channels with small weights, and channels with large ones that no ReLU lets through."""
    net = student()
    block = net.encoder[0][0]
    for layer in (block.first.weight.data, block.second.weight.data.transpose(0, 1)):
        layer[small] *= 0.01
        layer[dead] *= 2
    block.first.bias.data[small] *= 0.01
    block.first.bias.data[dead] = -100
    return net


def least(importance: Tensor, count: int) -> list[int]:
    return sorted(importance.argsort()[:count].tolist())


def test_planted_channels_are_the_ones_to_go() -> None:
    small, dead = [1, 4, 9, 14], [0, 2, 3, 13]
    net = planted(small, dead)
    axis = inner_axis(net)
    (l2,) = l2_importance([axis])
    (taylor,) = taylor_importance(net, [axis], [sample(0), sample(1)], LOSS)
    assert least(l2, 4) == small
    assert least(taylor, 4) == dead
    assert least(taylor, 8) == sorted(small + dead)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["l2", "taylor"])
def test_either_changes_less_than_channels_at_random(kind: str) -> None:
    net = planted([1, 3, 4, 6, 9, 10, 12, 14], [])
    rainy = torch.rand(1, 3, 16, 16)
    wanted = net(rainy)

    def change(channels: list[int]) -> float:
        pruned = copy.deepcopy(net)
        inner_axis(pruned).remove(channels)
        return float((pruned(rainy) - wanted).square().mean())

    axis = inner_axis(net)
    with torch.enable_grad():
        (values,) = (
            l2_importance([axis])
            if kind == "l2"
            else taylor_importance(net, [axis], [sample(0), sample(1)], LOSS)
        )
    draws = [np.random.default_rng(seed).choice(16, 8, replace=False) for seed in range(5)]
    assert change(least(values, 8)) < 0.05 * min(change(sorted(draw.tolist())) for draw in draws)


def test_batches_are_the_first_of_the_run_but_for_unlabelled_pictures(
    train_values: dict[str, Any],
) -> None:
    dry = train_values["mixture"]["parts"]["drawn"]["source"]
    config = build_config(TrainConfig, train_values, "config")
    real = {"source": dry, "rain": "unlabelled"}
    parts = {**train_values["mixture"]["parts"], "real": real}
    more = build_config(
        TrainConfig,
        {**train_values, "mixture": {**train_values["mixture"], "parts": parts}},
        "config",
    )
    data = MixtureDataset(config.mixture, config.data_root, config.seed)
    batches = read_batches(more, 2, False)
    assert [len(batch.rainy) for batch in batches] == [2, 2]
    for index in range(4):
        assert torch.equal(batches[index // 2].rainy[index % 2], data[index].rainy)
        assert torch.equal(batches[index // 2].clean[index % 2], data[index].clean)

    only = replace(more, mixture=replace(more.mixture, parts={"real": more.mixture.parts["real"]}))
    with pytest.raises(ConfigError, match=r"importance taylor needs clean pictures"):
        read_batches(only, 2, False)
