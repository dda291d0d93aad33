import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.teacher import TaughtPictures, load_teacher
from core.checkpoint import load_checkpoint, save_checkpoint
from core.errors import CheckpointError, DataError
from core.inference import SelfEnsemble, derain
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
    checkpoint = import_prenet(tmp_path / "PRN.pth", "prn")
    save_checkpoint(tmp_path / "prn.safetensors", checkpoint)
    taught = load_teacher(tmp_path / "prn.safetensors", 2)(RAINY)
    assert taught.shape == RAINY.shape
    assert 0 <= taught.min() < taught.max() <= 1


def test_each_picture_is_derained_once(
    make_teacher: Callable[..., Path], picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = load_teacher(make_teacher())
    calls = []

    def counted(*arguments):
        calls.append(0)
        return derain(*arguments)

    monkeypatch.setattr("compress.teacher.derain", counted)
    rainy = picture(18, 21)  # no multiple of 4
    other = rainy.reshape(21, 18, 3)  # the same bytes, another picture
    wanted = derain(teacher, rainy, 4)
    taught = TaughtPictures(teacher, tmp_path / "kept")
    for _ in range(2):
        np.testing.assert_array_equal(taught(rainy), wanted)
    assert len(calls) == 1
    again = TaughtPictures(load_teacher(make_teacher()), tmp_path / "kept")
    np.testing.assert_array_equal(again(rainy), wanted)
    assert len(calls) == 1
    assert again(other).shape == other.shape
    assert len(calls) == 2


def test_other_teachers_and_views_have_their_own(
    make_teacher: Callable[..., Path], picture, tmp_path: Path
) -> None:
    rainy = picture(16, 16)
    results = []
    for place, views in ((make_teacher(), 1), (make_teacher(), 2), (make_teacher("deconv"), 1)):
        results.append(TaughtPictures(load_teacher(place, views), tmp_path / "kept")(rainy))
    assert len({result.tobytes() for result in results}) == 3
    assert len(list((tmp_path / "kept").glob("*/*.png"))) == 3


def test_a_torn_file_is_written_anew(
    make_teacher: Callable[..., Path], picture, tmp_path: Path
) -> None:
    taught = TaughtPictures(load_teacher(make_teacher()), tmp_path)
    wanted = taught(picture(16, 16))
    (file,) = tmp_path.glob("*/*.png")
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    np.testing.assert_array_equal(taught(picture(16, 16)), wanted)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written(
    make_teacher: Callable[..., Path], picture, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/.*\.png: cannot be written") as caught:
        TaughtPictures(load_teacher(make_teacher()), tmp_path / "file")(picture(16, 16))
    assert "\n" not in str(caught.value)
