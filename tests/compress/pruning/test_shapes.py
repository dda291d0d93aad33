"""The config that is read off a pruned network builds that very network."""

from typing import Any

import pytest
import torch
from torch import nn

from compress.pruning.dependencies import find_axes
from compress.pruning.shapes import pruned_config
from core.config import network_config
from core.networks import ARCHITECTURES
from edge_runtime.models.records import to_plain
from tests.compress.pruning.conftest import picture


@torch.no_grad()
def test_every_pruned_network_comes_back_from_its_config(
    case: tuple[str, Any, int],
) -> None:
    architecture, net, _ = case
    for number, axis in enumerate(find_axes(net, net.config.size_multiple)):
        gone = 8 if architecture == "student" else 1 + number % 2
        if axis.width > gone:
            axis.remove(list(range(gone)))
    config = network_config(architecture, to_plain(pruned_config(net)))
    assert config != net.config
    again = ARCHITECTURES[architecture].module(config).double()
    again.load_state_dict(net.state_dict())
    for multiples in ((1, 1), (1, 3), (5, 3)):
        rainy = picture(net, *multiples)
        assert torch.equal(again(rainy), net(rainy))
        assert net(rainy).shape == rainy.shape


def test_an_unpruned_network_has_the_config_that_made_it(
    case: tuple[str, Any, int],
) -> None:
    _, net, _ = case
    assert pruned_config(net) == net.config


def test_another_network_has_no_reader() -> None:
    with pytest.raises(KeyError):
        pruned_config(nn.Identity())
