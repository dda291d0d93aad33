"""Import of PReNet-family weights: same function, nothing unpickled, every wrong key listed."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core import cli
from core.checkpoint import load_checkpoint
from core.errors import CheckpointError
from core.prenet import Family, import_prenet

FAMILIES: tuple[Family, ...] = ("prenet", "prenet_r", "prn", "prn_r")
StateDict = dict[str, Tensor]


def published(family: str, width: int = 32) -> StateDict:
    """Random weights under the keys of the public files."""
    random = torch.Generator().manual_seed(0)
    weights: StateDict = {}

    def layer(name: str, outputs: int, inputs: int) -> None:
        weights[f"{name}.weight"] = 0.05 * torch.randn(outputs, inputs, 3, 3, generator=random)
        weights[f"{name}.bias"] = 0.05 * torch.randn(outputs, generator=random)

    layer("conv0.0", width, 6)
    for number in range(1, 2 if family.endswith("_r") else 6):
        layer(f"res_conv{number}.0", width, width)
        layer(f"res_conv{number}.2", width, width)
    if family.startswith("prenet"):
        for gate in "ifgo":
            layer(f"conv_{gate}.0", width, 2 * width)
    layer("conv.0", 3, width)
    return weights


def published_forward(weights: StateDict, rainy: Tensor, stages: int) -> Tensor:
    """The forward pass of the public code, written after its description."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    width = len(weights["conv0.0.bias"])
    blocks = [n if f"res_conv{n}.0.weight" in weights else 1 for n in range(1, 6)]
    h = c = rainy.new_zeros(len(rainy), width, *rainy.shape[2:])
    picture = rainy
    for _ in range(stages):
        x = F.relu(conv("conv0.0", torch.cat([rainy, picture], dim=1)))
        if "conv_i.0.weight" in weights:
            both = torch.cat([x, h], dim=1)
            i, f, o = (torch.sigmoid(conv(f"conv_{gate}.0", both)) for gate in "ifo")
            c = f * c + i * torch.tanh(conv("conv_g.0", both))
            x = h = o * torch.tanh(c)
        for n in blocks:
            inner = F.relu(conv(f"res_conv{n}.0", x))
            x = F.relu(F.relu(conv(f"res_conv{n}.2", inner)) + x)
        picture = rainy + conv("conv.0", x)
    return picture


def saved(content: Any, folder: Path) -> Path:
    path = folder / "net_latest.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_the_imported_net_computes_what_the_published_one_does(
    family: Family, tmp_path: Path
) -> None:
    weights = published(family)
    net = import_prenet(saved(weights, tmp_path), family).build().double()
    rainy = torch.rand(2, 3, 13, 9, dtype=torch.float64)
    wanted = published_forward({key: value.double() for key, value in weights.items()}, rainy, 6)
    with torch.no_grad():
        found = net(rainy)
    assert (found - rainy).abs().max() > 0.01
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_the_width_is_that_of_the_weights(tmp_path: Path) -> None:
    assert import_prenet(saved(published("prenet", 12), tmp_path), "prenet").config.width == 12


def test_the_checkpoint_says_where_it_came_from(tmp_path: Path) -> None:
    path = saved(published("prn_r", width=8), tmp_path)
    checkpoint = import_prenet(path, "prn_r")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.recipe == (f"import: prn_r from net_latest.pth, sha256 {digest}",)
    assert (checkpoint.name, checkpoint.role) == ("prn_r", "teacher")
    assert checkpoint.data == ()


def test_all_wrong_keys_are_listed(tmp_path: Path) -> None:
    weights = published("prenet", width=8)
    del weights["conv_i.0.bias"], weights["res_conv5.2.weight"]
    weights["extra.bias"] = weights["module.weight"] = torch.zeros(1)
    weights["conv.0.bias"] = torch.zeros(4)
    weights["conv_f.0.weight"] = torch.zeros(8, 8, 3, 3)
    with pytest.raises(CheckpointError) as caught:
        import_prenet(saved(weights, tmp_path), "prenet")
    message = str(caught.value)
    assert "net_latest.pth: not the weights of prenet; " in message
    assert "unknown: extra.bias, module.weight; " in message
    assert "missing: conv_i.0.bias, res_conv5.2.weight; " in message
    assert "misshaped: conv.0.bias [4] instead of [3], conv_f.0.weight [8, 8, 3, 3] " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("found", "asked", "problem"),
    [
        ("prenet", "prn", r"unknown: conv_f\.0\.bias"),
        ("prn", "prenet", r"missing: conv_f\.0\.bias"),
        ("prenet_r", "prenet", r"missing: res_conv2\.0\.bias"),
        ("prn", "prn_r", r"unknown: res_conv2\.0\.bias"),
    ],
)
def test_another_family_is_refused(found: str, asked: Family, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=problem):
        import_prenet(saved(published(found, width=8), tmp_path), asked)


@pytest.mark.parametrize("weights", [{}, {"conv0.0.weight": torch.zeros(3)}])
def test_weights_without_a_width_are_refused(weights: StateDict, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing: .*conv\.0\.weight"):
        import_prenet(saved(weights, tmp_path), "prn")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_no_code_in_the_file_runs(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = saved({"conv0.0.weight": Trap(sprung)}, tmp_path)
    with pytest.raises(CheckpointError, match="holds more than weights"):
        import_prenet(path, "prenet")
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "holds a list, not a state dict"),
        ({0: torch.zeros(1)}, "holds a dict, not a state dict"),
        ({"state_dict": {}, "epoch": 3}, "no weights are state_dict, epoch"),
    ],
)
def test_what_is_no_state_dict_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        import_prenet(saved(content, tmp_path), "prenet")


@pytest.mark.parametrize("length", [0, 10, 3000])
def test_a_torn_file_is_refused(length: int, tmp_path: Path) -> None:
    path = saved(published("prn", width=8), tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"net_latest\.pth: torn"):
        import_prenet(path, "prn")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: cannot be read \(No such file"):
        import_prenet(tmp_path / "none.pth", "prn")


def test_the_command_writes_a_checkpoint_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(published("prn", width=4), tmp_path)
    command = ["import", str(file), "--family", "prn", "--licence", "MIT"]
    assert cli.main(command) == 0
    out = file.with_suffix(".safetensors")
    assert capsys.readouterr().out == f"prn (gan_lstm): {out}\n"
    assert (load_checkpoint(out).config.stages, load_checkpoint(out).licence) == (6, "MIT")
    before = out.read_bytes()
    assert cli.main(command) == 2
    assert (
        capsys.readouterr().err == f"derain: error: {out}: exists already; name another with -o\n"
    )
    assert out.read_bytes() == before
