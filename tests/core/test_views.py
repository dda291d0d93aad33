import pytest
import torch
from torch import Tensor, nn

from core.views import SelfEnsemble

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


def test_means_are_float32_whatever_the_network_returns() -> None:
    class Half(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            return rainy.bfloat16()

    assert SelfEnsemble([Half()], 2)(RAINY).dtype == torch.float32
