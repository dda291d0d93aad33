from dataclasses import replace
from typing import Any

import pytest
import torch

from core.config import network_config
from core.errors import ConfigError
from core.networks.student import StudentConfig, StudentNet
from edge_runtime.models.records import to_plain

SMALL = StudentConfig(widths=(8, 16), encoder_blocks=(1, 2), decoder_blocks=(1,))
QUARTER = StudentConfig(
    (8, 16), (1, 1), (1,), stride=4, kernel=8, up="shuffle", exit_kernel=3, closed=True
)


def _woken(config: StudentConfig = SMALL, seed: int = 0) -> StudentNet:
    """Return a network whose last layer is no longer zero."""
    torch.manual_seed(seed)
    net = StudentNet(config)
    torch.nn.init.normal_(net.exit.weight, std=0.1)
    return net


@pytest.mark.parametrize("config", [StudentConfig(), SMALL, StudentConfig((8,), (0,), ()), QUARTER])
def test_untrained_it_returns_its_input(config: StudentConfig) -> None:
    rainy = torch.rand(2, 3, 3 * config.size_multiple, config.size_multiple)
    derained = StudentNet(config)(rainy)
    assert derained.shape == rainy.shape
    assert torch.equal(derained, rainy)


@pytest.mark.parametrize(
    ("levels", "stride", "multiple"), [(1, 2, 2), (2, 2, 4), (4, 2, 16), (1, 4, 4), (3, 4, 16)]
)
def test_size_multiple_is_the_least_legal_size(levels: int, stride: int, multiple: int) -> None:
    config = StudentConfig((8,) * levels, (1,) * levels, (1,) * (levels - 1), stride=stride)
    assert config.size_multiple == multiple
    net = _woken(config)
    assert net(torch.rand(1, 3, multiple, 3 * multiple)).shape == (1, 3, multiple, 3 * multiple)
    with pytest.raises(RuntimeError):
        net(torch.rand(1, 3, multiple, multiple + multiple // 2))


@torch.no_grad()
def test_a_transposed_convolution_is_a_shuffled_one_in_other_words() -> None:
    net, shuffled = _woken(), StudentNet(replace(SMALL, up="shuffle"))
    weights = net.state_dict()
    for name in ("up.0", "exit"):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        weights[f"{name}.weight"] = weight.flatten(1).T[:, :, None, None]
        weights[f"{name}.bias"] = bias.repeat_interleave(4)
    shuffled.load_state_dict(weights)
    rainy = torch.rand(1, 3, 24, 20)
    torch.testing.assert_close(shuffled(rainy), net(rainy), atol=1e-6, rtol=0)


@torch.no_grad()
def test_what_a_closed_block_hands_on_is_never_negative() -> None:
    rainy, config = torch.rand(1, 3, 32, 32), replace(QUARTER, closed=False)
    results = [_woken(each).encoder[0](torch.rand(1, 8, 8, 8)) for each in (QUARTER, config)]
    assert [bool((result < 0).any()) for result in results] == [False, True]
    assert not torch.equal(_woken(QUARTER)(rainy), _woken(config)(rainy))


@torch.no_grad()
@pytest.mark.parametrize("config", [SMALL, QUARTER])
def test_shifting_the_input_shifts_the_output(config: StudentConfig) -> None:
    net, step = _woken(config), config.size_multiple
    rainy = torch.rand(1, 3, 96, 96)
    whole = net(rainy)
    shifted = net(rainy[:, :, step:, 2 * step :])
    margin = 40  # beyond the reach of the borders
    torch.testing.assert_close(
        shifted[:, :, margin:-margin, margin:-margin],
        whole[:, :, step + margin : -margin, 2 * step + margin : -margin],
        atol=1e-6,
        rtol=0,
    )
    # It is not so for a shift that the pooling grid does not know: the test can fail.
    other = net(rainy[:, :, : 96 - step].roll(1, 2))
    assert not torch.allclose(
        other[:, :, 41:-40, 40:-40], whole[:, :, 40 : -41 - step, 40:-40], atol=1e-6
    )


def test_it_overfits_one_pair() -> None:
    torch.manual_seed(0)
    net = StudentNet(SMALL)
    clean = torch.rand(1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3) * 0.6
    rainy = clean.clone()
    rainy[..., 3:5] += 0.4
    rainy[..., 10:12] += 0.4
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = (net(rainy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": ()}, "widths is empty"),
        ({"widths": (8, 12)}, r"encoder_blocks has 3 entries, \[1, 1, 2\], but 2 widths need 2"),
        ({"widths": (16, 12, 4)}, r"widths \[12, 4\] are not positive multiples of 8"),
        ({"decoder_blocks": (1,)}, r"decoder_blocks has 1 entries, \[1\], but 3 widths need 2"),
        ({"decoder_blocks": (1, -1)}, r"decoder_blocks \[1, -1\] has a negative number"),
        ({"stride": 3}, "stride 3 must be 2 or 4"),
        ({"kernel": 7}, "kernel 7 must be stride 2 and an even number more, such as 4"),
        ({"stride": 4, "kernel": 2}, "kernel 2 must be stride 4 and an even number more"),
        ({"exit_kernel": 5}, "exit_kernel 5 must be 1 or 3"),
        ({"exit_kernel": 3}, "exit_kernel 3 needs up: shuffle"),
    ],
)
def test_shapes_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudentConfig(**values)


def test_every_block_can_have_its_own_inner_width() -> None:
    config = StudentConfig((8, 16), (1, 2), (1,), ((24,), (8, 40)), ((16,),))
    net = _woken(config)
    shapes = [
        tuple(block.second.weight.shape[:2])
        for level in (*net.encoder, *net.decoder)
        for block in level
    ]
    assert shapes == [(8, 24), (16, 8), (16, 40), (8, 16)]
    assert net(torch.rand(1, 3, 12, 4)).shape == (1, 3, 12, 4)
    assert network_config("student", to_plain(config)) == config


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (
            {"encoder_inner": ((8,), (8,))},
            r"encoder_inner \[\[8\], \[8\]\] must hold one number for",
        ),
        ({"decoder_inner": ((8,), ())}, r"decoder_inner .* each of the decoder_blocks \[1\]"),
        ({"decoder_inner": ((12,),)}, r"decoder_inner \[12\] are not positive multiples of 8"),
        ({"encoder_inner": ((8,), (8, 0))}, r"encoder_inner \[0\] are not positive multiples of 8"),
    ],
)
def test_wrong_inner_widths_are_named(inner: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudentConfig((8, 16), (1, 2), (1,), **inner)
