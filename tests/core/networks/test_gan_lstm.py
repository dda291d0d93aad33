"""GAN-LSTM: the equations, its stages, what it costs, and that it learns."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.cost import macs_per_pixel
from core.config import network_config
from core.errors import ConfigError
from core.networks.gan_lstm import Discriminator, GanLstm, GanLstmConfig
from core.networks.layers import guided_filter
from edge_runtime.models.records import to_plain

TINY = GanLstmConfig(width=6, stages=3, blocks=2, radius=2, eps=0.01)
PRENET = GanLstmConfig(attention="none", base_layer=False, residual_output=True)
VARIANTS = {
    "paper": TINY,
    "prenet": replace(TINY, attention="none", base_layer=False, residual_output=True),
    "prn_r": replace(TINY, attention="none", recurrent=False, share_blocks=True),
    "spatial at half size": replace(TINY, attention="spatial", body_scale=2),
    "quarter size": replace(TINY, attention="none", body_scale=4, residual_output=True),
    "down and up": replace(TINY, blocks=4, body_depth=1, body_scale=2, residual_output=True),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def net(request: pytest.FixtureRequest) -> GanLstm:
    return build(request.param)


def build(config: GanLstmConfig) -> GanLstm:
    """A float64 net whose last layer does something."""
    net = GanLstm(config)
    nn.init.normal_(net.exit.weight, std=0.05)
    return net.double()


def picture(*size: int) -> Tensor:
    return torch.rand(1, 3, *size, dtype=torch.float64)


@pytest.mark.parametrize("multiples", [(1, 1), (1, 5), (7, 3)])
def test_any_multiple_is_a_legal_size(net: GanLstm, multiples: tuple[int, int]) -> None:
    rainy = picture(*(count * net.config.size_multiple for count in multiples))
    results = net.stages(rainy)
    assert [result.shape for result in results] == [rainy.shape] * net.config.stages
    assert torch.equal(net(rainy), results[-1])


def test_one_stage_at_a_time_equals_the_unrolled_net(net: GanLstm) -> None:
    rainy = picture(12, 20)
    base = guided_filter(rainy, 2, 0.01) if net.config.base_layer else None
    x, hidden, cell = net.step(rainy, base, rainy)
    results = [x]
    for _ in range(net.config.stages - 1):
        x, hidden, cell = net.step(rainy, base, x, hidden, cell)
        results.append(x)
    for found, wanted in zip(results, net.stages(rainy), strict=True):
        assert torch.equal(found, wanted)
    assert (hidden is None) == (cell is None) == (not net.config.recurrent)


def test_the_equations_of_the_paper() -> None:
    net, rainy = build(replace(TINY, stages=2)), picture(9, 7)
    assert net.cell is not None
    x, state = rainy, ()
    for _ in range(2):
        inputs = torch.cat([rainy, x, guided_filter(rainy, 2, 0.01)], dim=1)
        features = F.relu(F.conv2d(inputs, net.entry.weight, net.entry.bias, padding=1))  # f_in
        state = net.cell(features, *state)
        features = net.body[1](net.body[0](state[0]))
        x = F.conv2d(features, net.exit.weight, net.exit.bias, padding=1)  # f_out
    assert torch.equal(net(rainy), x)


def test_a_shared_block_is_applied_as_often_as_separate_ones() -> None:
    shared = build(replace(TINY, share_blocks=True))
    separate = build(TINY)
    weights = shared.state_dict()
    for key in separate.state_dict().keys() - weights.keys():
        weights[key] = weights[key.replace("body.1.", "body.0.")]
    separate.load_state_dict(weights)
    rainy = picture(9, 7)
    assert torch.equal(shared(rainy), separate(rainy))


def test_blocks_go_down_and_up_again_with_skips() -> None:
    config = replace(TINY, stages=1, blocks=6, body_depth=2, attention="spatial")
    assert (config.block_levels, config.size_multiple) == ((0, 1, 2, 2, 1, 0), 4)
    net, features = build(config), torch.rand(1, 6, 8, 12, dtype=torch.float64)
    assert [block.first.weight.shape[0] for block in net.body] == [6, 12, 24, 24, 12, 6]
    a, b, c, d, e, f = net.body
    fine = a(features)
    middle = b(F.relu(net.down[0](fine)))
    coarse = d(c(F.relu(net.down[1](middle))))
    middle = e(F.relu(net.up[1](coarse) + middle))
    wanted = f(F.relu(net.up[0](middle) + fine))
    assert torch.equal(net.through_body(features), wanted)


def test_every_width_can_be_its_own() -> None:
    config = GanLstmConfig(
        width=6,
        stages=2,
        blocks=3,
        body_depth=1,
        radius=2,
        entry_width=5,
        coarse_widths=(7,),
        inner_widths=(3, 9, 4),
        squeeze_widths=(2, 1, 3),
    )
    net = build(config)
    assert net.entry.out_channels == 5
    assert net.cell is not None
    assert tuple(net.cell.from_input.weight.shape[:2]) == (24, 5)
    assert tuple(net.cell.from_hidden.weight.shape[:2]) == (24, 6)
    blocks = [
        (block.first.weight.shape[1::-1], block.attention.squeeze.weight.shape[0])
        for block in net.body
    ]
    assert blocks == [((6, 3), 2), ((7, 9), 1), ((6, 4), 3)]
    assert net(picture(6, 10)).shape == (1, 3, 6, 10)
    assert network_config("gan_lstm", to_plain(config)) == config


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_an_untrained_residual_net_returns_its_input(scale: int) -> None:
    config = replace(TINY, residual_output=True, body_scale=scale)  # type: ignore[arg-type]
    rainy = picture(8, 12).float()
    assert torch.equal(GanLstm(config)(rainy), rainy)


@pytest.mark.parametrize("scale", [2, 4])
def test_entry_and_exit_are_3x3_convolutions_around_a_pixel_shuffle(scale: int) -> None:
    net = build(replace(TINY, body_scale=scale))  # type: ignore[arg-type]
    outputs, inputs = net.entry.weight.shape[:2]
    # A kernel of 3s x 3s as 3 x 3 cells of s x s, whose pixels become channels.
    cells = net.entry.weight.reshape(outputs, inputs, 3, scale, 3, scale)
    kernel = cells.permute(0, 1, 3, 5, 2, 4).reshape(outputs, inputs * scale**2, 3, 3)
    x = torch.rand(1, inputs, 3 * scale, 5 * scale, dtype=torch.float64)
    wanted = F.conv2d(F.pixel_unshuffle(x, scale), kernel, net.entry.bias, padding=1)
    assert torch.allclose(net.entry(x), wanted, rtol=0, atol=1e-12)

    cells = net.exit.weight.reshape(TINY.width, 3, 3, scale, 3, scale)
    kernel = cells.permute(1, 3, 5, 0, 2, 4).reshape(3 * scale**2, TINY.width, 3, 3).flip(2, 3)
    features = torch.rand(1, TINY.width, 3, 5, dtype=torch.float64)
    assert net.exit.bias is not None
    bias = net.exit.bias.repeat_interleave(scale**2)
    wanted = F.pixel_shuffle(F.conv2d(features, kernel, bias, padding=1), scale)
    assert torch.allclose(net.exit(features), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_are_exact_with_spatial_attention(scale: int) -> None:
    config = replace(TINY, stages=2, attention="spatial", body_scale=scale)  # type: ignore[arg-type]
    net = build(config)
    # A stage looks 3 a block and 3 more for f_in, the cell and f_out; the filter twice its radius.
    halo = scale * (config.stages * (3 * config.blocks + 3) + 1) + 2 * config.radius
    halo += -halo % scale
    rainy = picture(16, 2 * halo + 24)
    with torch.no_grad():
        tile = net(rainy[..., 4 : 4 + 2 * halo + 8])[..., halo : halo + 8]
        whole = net(rainy)[..., halo + 4 : halo + 12]
    assert torch.allclose(tile, whole, rtol=0, atol=1e-12)


def test_every_weight_gets_a_gradient(net: GanLstm) -> None:
    for parameter in net.parameters():
        parameter.data.abs_().mul_(0.3)  # no ReLU is dead, no gate saturated
    net(picture(8, 12)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("variant", ["paper", "quarter size", "down and up"])
def test_it_overfits_one_pair_to_above_40_db(variant: str) -> None:
    net = GanLstm(replace(VARIANTS[variant], width=20, stages=2))
    clean = torch.linspace(0, 1, 8).expand(1, 3, 8, 8)
    rainy = (clean + 0.4 * (torch.rand(1, 1, 8, 8) > 0.8)).clamp(0, 1)
    assert F.mse_loss(rainy, clean) > 1e-2
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    for _ in range(250):
        loss = torch.stack([F.mse_loss(result, clean) for result in net.stages(rainy)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert F.mse_loss(net(rainy), clean) < 1e-4


def test_cost_of_prenet_equals_a_sum_by_hand() -> None:
    net = GanLstm(PRENET)
    lstm = 32 * 4 * 32 * 9
    stage = 6 * 32 * 9 + 2 * lstm + 5 * 2 * 32 * 32 * 9 + 32 * 3 * 9
    assert macs_per_pixel(net, 1) == 6 * stage - lstm  # the first stage has no hidden state
    assert sum(parameter.numel() for parameter in net.parameters()) == 168_963


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width 0 must be at least 1"),
        ({"stages": 0}, "stages 0 must be at least 1"),
        ({"blocks": -1}, "blocks -1 must be at least 1"),
        ({"radius": 0}, "radius 0 must be at least 1"),
        ({"body_depth": -1}, "body_depth -1 must be 0 or more"),
        ({"body_depth": 3}, "blocks 5 cannot go 3 halvings down and up again; take 7"),
        ({"body_depth": 1, "share_blocks": True}, "share_blocks needs .*body_depth 0, not 1"),
        ({"eps": 0.0}, r"eps 0\.0 must be above 0"),
        ({"eps": float("nan")}, "eps nan must be above 0"),
        ({"entry_width": -1}, "entry_width -1 must be 0 or more"),
        ({"entry_width": 8, "recurrent": False}, "entry_width 8 must be .* 0 without recurrent"),
        ({"coarse_widths": (8,)}, r"coarse_widths \[8\] must be 0 numbers"),
        ({"inner_widths": (8,)}, r"inner_widths \[8\] must be 5 numbers of at least 1"),
        ({"inner_widths": (8, 8, 0, 8, 8)}, "must be 5 numbers of at least 1, or be left out"),
        ({"inner_widths": (8, 8), "share_blocks": True}, r"inner_widths \[8, 8\] must be 1 num"),
        ({"squeeze_widths": (4,) * 4}, "must be 5 numbers of at least 1, or be left out"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GanLstmConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "depth"), [((16, 16), 4), ((37, 50), 3), ((4, 9), 2)])
def test_the_discriminator_scores_patches(size: tuple[int, int], depth: int) -> None:
    scores = Discriminator(width=4, depth=depth)(torch.rand(2, 3, *size))
    assert scores.shape == (2, 1, size[0] // 2**depth, size[1] // 2**depth)


def test_spectral_norm_bounds_every_layer() -> None:
    net = Discriminator(width=4, depth=2).train()
    for parameter in net.parameters():
        parameter.data.mul_(10)
    for _ in range(50):  # power iterations
        net(torch.rand(1, 3, 8, 8))
    for layer in net.eval().convolutions:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert float(norm.detach()) == pytest.approx(1.0, abs=0.02)
