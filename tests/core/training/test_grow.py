"""Growing a student: the same function, more room."""

import dataclasses
from typing import Any

import pytest
import torch

from core.checkpoint import Checkpoint
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.student import StudentConfig, StudentNet
from core.training.grow import grow

_SMALL = StudentConfig(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,))


@pytest.fixture
def trained() -> Checkpoint:
    """A student whose every weight counts, the last layer and the biases included."""
    torch.manual_seed(0)
    network = StudentNet(_SMALL)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Checkpoint("small", "student", "student", _SMALL, network.state_dict(), recipe=("a",))


@pytest.mark.parametrize(
    "larger",
    [
        StudentConfig(widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1,)),
        StudentConfig(widths=(24, 40), encoder_blocks=(1, 1), decoder_blocks=(1,)),
        StudentConfig(widths=(8, 16), encoder_blocks=(2, 3), decoder_blocks=(2,)),
        StudentConfig(
            widths=(16, 24),
            encoder_blocks=(1, 2),
            decoder_blocks=(1,),
            encoder_inner=((16,), (24, 8)),
            decoder_inner=((32,),),
        ),
    ],
    ids=["doubled", "copied twice", "deeper", "inner widths"],
)
def test_a_grown_student_computes_the_same(trained: Checkpoint, larger: StudentConfig) -> None:
    rainy = torch.rand(2, 3, 24, 20)
    grown = grow(trained, larger)
    with torch.no_grad():
        before, after = trained.build()(rainy), grown.build()(rainy)
    assert (before - rainy).abs().max() > 0.05
    torch.testing.assert_close(after, before, atol=2e-6, rtol=0)
    assert grown.config == larger
    assert grown.recipe == ("a", f"grow: widths [8, 16] to {list(larger.widths)}, seed 0")


def test_a_grown_student_of_blocks_of_pixels_computes_the_same() -> None:
    small = StudentConfig(
        (8, 16), (1, 1), (0,), stride=4, kernel=12, up="shuffle", exit_kernel=3, closed=True
    )
    torch.manual_seed(0)
    network = StudentNet(small)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    trained = Checkpoint("small", "student", "student", small, network.state_dict())
    larger = dataclasses.replace(small, widths=(24, 32), encoder_blocks=(2, 2), decoder_blocks=(1,))
    rainy = torch.rand(1, 3, 24, 16)
    with torch.no_grad():
        before, after = network(rainy), grow(trained, larger).build()(rainy)
    assert (before - rainy).abs().max() > 0.05
    torch.testing.assert_close(after, before, atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match="has kernel 12, not 8"):
        grow(trained, dataclasses.replace(larger, kernel=8))


def test_copies_part_under_an_optimizer_that_ignores_scale(trained: Checkpoint) -> None:
    larger = StudentConfig(widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1,))
    network = grow(trained, larger).build().train()
    inner = network.get_submodule("encoder.0.0.first")
    assert isinstance(inner, torch.nn.Conv2d)
    # Inside a block, channel 8 + i copies one of 0 to 7: find which, by its bias.
    bias = inner.bias
    assert bias is not None
    pairs = [(int((bias[:8] - bias[8 + i]).abs().argmin()), 8 + i) for i in range(8)]
    torch.testing.assert_close(bias[[old for old, _ in pairs]], bias[8:])
    network(torch.rand(4, 3, 32, 32)).sub(0.5).square().mean().backward()
    gradient = inner.weight.grad
    assert gradient is not None
    rows = gradient.flatten(1)
    for old, new in pairs:
        if rows[old].any():  # not a dead one
            assert torch.cosine_similarity(rows[old], rows[new], dim=0) < 0.9999
    assert rows.any(dim=1).sum() >= 8


def test_the_seed_chooses_the_copies(trained: Checkpoint) -> None:
    larger = StudentConfig(widths=(16, 16), encoder_blocks=(1, 1), decoder_blocks=(1,))
    one, again, other = grow(trained, larger, 1), grow(trained, larger, 1), grow(trained, larger, 2)
    assert torch.equal(one.weights["down.0.weight"], again.weights["down.0.weight"])
    assert not torch.equal(one.weights["down.0.weight"], other.weights["down.0.weight"])


@pytest.mark.parametrize(
    ("larger", "said"),
    [
        (StudentConfig(widths=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)), r"\[8, 16\]"),
        (StudentConfig(widths=(8, 16), encoder_blocks=(0, 1), decoder_blocks=(1,)), "encoder_bl"),
        (StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=()), "has 2 levels, not 1"),
        (
            StudentConfig(
                widths=(16, 16),
                encoder_blocks=(1, 1),
                decoder_blocks=(1,),
                encoder_inner=((16,), (8,)),
                decoder_inner=((16,),),
            ),
            "encoder_inner",
        ),
    ],
)
def test_shrinking_is_refused(trained: Checkpoint, larger: StudentConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        grow(trained, larger)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "spatial", "body_scale": 2, "residual_output": True},
        {"attention": "channel", "base_layer": False},
        {"attention": "none", "recurrent": False, "body_depth": 0, "share_blocks": True},
    ],
    ids=["as it ships", "channel attention", "without a cell"],
)
def test_a_grown_gan_lstm_computes_the_same(changes: dict[str, Any]) -> None:
    shape = {"width": 8, "stages": 2, "blocks": 3, "body_depth": 1, "radius": 2, "eps": 0.01}
    small = GanLstmConfig(**shape | changes)
    coarse = (24,) * small.body_depth
    large = dataclasses.replace(small, width=12, coarse_widths=coarse, stages=2)
    torch.manual_seed(0)
    network = GanLstm(small)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    trained = Checkpoint("t", "teacher", "gan_lstm", small, network.state_dict())
    grown = grow(trained, large).build()
    rainy = torch.rand(2, 3, 24, 20)
    with torch.no_grad():
        before, after = network(rainy), grown(rainy)
    assert (before - rainy).abs().max() > 0.05
    torch.testing.assert_close(after, before, atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match=r"blocks 3 cannot become 4"):
        grow(trained, dataclasses.replace(large, blocks=4))
    with pytest.raises(ValueError, match=r"width.* \[8.*\] cannot shrink to \[4"):
        grow(trained, dataclasses.replace(small, width=4))
