import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.teacher import load_teacher
from core.checkpoint import load_checkpoint, save_checkpoint
from core.errors import CheckpointError
from core.inference import SelfEnsemble
from core.prenet import import_prenet

RAINY = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
MakeTeacher = Callable[..., Path]


@pytest.mark.parametrize("architecture", ["student", "gan_lstm", "deconv", "jorder", "rescan"])
def test_any_architecture_teaches_in_eval_mode_without_gradient(
    make_teacher: MakeTeacher, architecture: str
) -> None:
    path = make_teacher(architecture)
    teacher = load_teacher(path)
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    rainy = RAINY.clone().requires_grad_()
    taught = teacher(rainy)
    assert not taught.requires_grad
    with torch.no_grad():
        wanted = load_checkpoint(path).build()(RAINY).clamp(0, 1)
    torch.testing.assert_close(taught, wanted, atol=1e-6, rtol=0)
    assert not torch.equal(taught, RAINY)
    assert teacher.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_views_are_averaged_and_then_clamped(make_teacher: MakeTeacher, views: int) -> None:
    path = make_teacher()
    bright = 0.9 + RAINY
    with torch.no_grad():
        mean = SelfEnsemble([load_checkpoint(path).build()], views)(bright)  # type: ignore[arg-type]
    teacher = load_teacher(path, views)  # type: ignore[arg-type]
    torch.testing.assert_close(teacher(bright), mean.clamp(0, 1), atol=1e-6, rtol=0)
    assert mean.max() > 1
    assert teacher.key.endswith(f"_x{views}")


def test_several_teach_by_their_mean(make_teacher: MakeTeacher, tmp_path: Path) -> None:
    wise = make_teacher()
    other = tmp_path / "other.safetensors"
    checkpoint = replace(load_checkpoint(wise), name="other", data=("elsewhere",))
    weights = {name: 0.9 * weight for name, weight in checkpoint.weights.items()}
    save_checkpoint(other, replace(checkpoint, weights=weights))
    both, one, two = (load_teacher(place, 2) for place in (f"{wise}, {other}", wise, other))
    grey = 0.3 + 0.4 * RAINY  # so that nothing is clipped
    torch.testing.assert_close(both(grey), (one(grey) + two(grey)) / 2, atol=1e-6, rtol=0)
    assert not torch.allclose(one(grey), two(grey), atol=1e-4)
    assert both.description == f"wise sha256 {one.sha256} and other sha256 {two.sha256}"
    assert both.data == (*one.data, "elsewhere")
    assert len({both.key, one.key, two.key, load_teacher(wise, 1).key, both.sha256}) == 5


def test_a_teacher_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    for place, message in (
        ("smal", r"'smal': unknown; did you mean 'small'"),
        ("small,smal", r"'smal': unknown; did you mean 'small'"),
        (tmp_path / "a.safetensors", r"a\.safetensors: torn, or not a safetensors file"),
        (tmp_path / "b.safetensors", r"b\.safetensors: cannot be read"),
        ("PreNet.pth", r"teacher PreNet\.pth: .*: derain import PreNet\.pth --family prenet$"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_teacher(place)
        assert "\n" not in str(caught.value)


def test_an_imported_network_teaches(tmp_path: Path) -> None:
    shapes = {"conv0.0": (4, 6), "conv.0": (3, 4)}
    for block in range(1, 6):
        shapes |= {f"res_conv{block}.0": (4, 4), f"res_conv{block}.2": (4, 4)}
    published = {}
    for name, shape in shapes.items():
        published[f"{name}.weight"] = torch.randn(*shape, 3, 3) * 0.1
        published[f"{name}.bias"] = torch.randn(shape[0]) * 0.1
    torch.save(published, tmp_path / "PRN.pth")
    checkpoint = import_prenet(tmp_path / "PRN.pth", "prn", stages=2)
    save_checkpoint(tmp_path / "prn.safetensors", checkpoint)
    taught = load_teacher(tmp_path / "prn.safetensors", 2)(RAINY)
    assert taught.shape == RAINY.shape
    assert 0 <= taught.min() < taught.max() <= 1
