import copy

import pytest
import torch
from torch import nn

from compress.features import FeatureMatch, Taps, default_layers
from core.config import network_config
from core.errors import ConfigError
from core.networks import ARCHITECTURES
from tests.compress.conftest import NETWORKS


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 3, 3, padding=1))


def test_taps_keep_what_their_network_computed_and_no_copy() -> None:
    network = _network()
    taps = Taps(network, ["1"], "student")
    picture = torch.rand(2, 3, 8, 8)
    network(picture)
    torch.testing.assert_close(taps.latest["1"], network[0](picture).relu())
    kept = taps.latest["1"]
    copy.deepcopy(network)(torch.rand(1, 3, 4, 4))
    assert taps.latest["1"] is kept
    assert taps.take()[0] is kept
    with pytest.raises(KeyError):
        taps.take()
    assert taps.channels(network, 4) == [5]


def test_layers_that_are_not_there() -> None:
    for name in ("3", ""):
        with pytest.raises(ConfigError, match=rf"layer '{name}' of the teacher: unknown; "):
            Taps(_network(), [name], "teacher")
    flat = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten())
    with pytest.raises(ConfigError, match=r"layer '1': gives no features \(N, C, h, w\)"):
        Taps(flat, ["1"], "student").channels(flat, 4)


def test_the_distance_is_that_of_the_matched_features_by_hand() -> None:
    match = FeatureMatch([2], [3])
    nn.init.zeros_(match.matches[0].weight)
    nn.init.constant_(match.matches[0].bias, 1.0)
    wanted = torch.tensor([1.0, 3.0, 2.0])[:, None, None, None].expand(3, 3, 4, 4)
    distance = match([torch.rand(3, 2, 4, 4)], [wanted])
    torch.testing.assert_close(distance, torch.tensor([0.0, 4 / 9, 1 / 4]))
    # The scale of the teacher's layer does not matter to what zeros reach.
    nn.init.zeros_(match.matches[0].bias)
    torch.testing.assert_close(match([torch.rand(3, 2, 4, 4)], [wanted * 50]), torch.ones(3))


def test_the_finer_features_are_averaged_down() -> None:
    match = FeatureMatch([1, 1], [1, 1])
    for each in match.matches:
        nn.init.ones_(each.weight)
        nn.init.zeros_(each.bias)
    fine, coarse = torch.tensor([[1.0, 3.0], [5.0, 7.0]])[None, None], torch.full((1, 1, 1, 1), 4.0)
    assert match([fine, coarse], [coarse, fine]).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("architecture", "network", "layers"),
    [
        ("student", {}, ("encoder.1", "decoder.0")),
        (
            "student",
            {"widths": [8], "encoder_blocks": [1], "decoder_blocks": []},
            ("encoder.0", "encoder.0"),
        ),
        ("gan_lstm", {}, ("body.1", "body.2")),
        ("gan_lstm", {"share_blocks": True}, ("body.0", "body.0")),
        ("jorder", {}, ("context", "background.first")),
        ("rescan", {}, ("layers.1.attention", "merge_attention")),
        ("rescan", {"depth": 3}, ("layers.0.attention", "merge_attention")),
        ("deconv", {}, ("down.1", "up.0")),
        ("deconv", {"widths": [4]}, ("down.0", "up.0")),
    ],
)
def test_default_layers_are_there(
    architecture: str, network: dict[str, object], layers: tuple[str, str]
) -> None:
    config = network_config(architecture, {**NETWORKS[architecture], **network})
    assert default_layers(architecture, config) == layers
    module = ARCHITECTURES[architecture].module(config)
    taps = Taps(module, layers, "student")
    assert min(taps.channels(module, config.size_multiple)) > 0


def test_no_default_layers() -> None:
    with pytest.raises(ConfigError, match="architecture 'other': has no default layers"):
        default_layers("other", None)
