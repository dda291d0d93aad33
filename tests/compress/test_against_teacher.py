"""Losses against a teacher: what a naive loop over the pictures says, each derained once."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from compress.against_teacher import AgainstTeacher, loss_table, without_teacher
from compress.teacher import Teacher, load_teacher
from core.config import build_config
from core.evaluation.evaluate import EvaluationConfig, evaluate
from core.inference import derain
from edge_runtime.metrics import PROTOCOLS, psnr, ssim
from edge_runtime.models.card import LossRow, TeacherLoss

Image = np.ndarray
SIZES = {"wet": ((30, 21), (16, 40)), "dry": ((24, 24),)}


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, list[tuple[Image, Image]]]:
    made: dict[str, list[tuple[Image, Image]]] = {}
    for number, (name, sizes) in enumerate(SIZES.items()):
        made[name] = []
        for index, size in enumerate(sizes):
            generator = np.random.default_rng([number, index])
            clean = generator.integers(0, 200, (*size, 3), dtype=np.uint8)
            rainy = clean + np.uint8(0 if name == "dry" else 30)
            for kind, image in (("rainy", rainy), ("clean", clean)):
                folder = tmp_path / "data" / name / kind
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"{index}.png"), image[..., ::-1])
            made[name].append((rainy, clean))
    return made


@pytest.fixture
def config(pairs: object, tmp_path: Path) -> EvaluationConfig:
    sets = {
        name: {"source": {"layout": "folders", "rainy": f"{name}/rainy", "clean": f"{name}/clean"}}
        for name in SIZES
    }
    values = {"sets": sets, "data_root": str(tmp_path / "data")}
    return build_config(EvaluationConfig, values, "config")


@pytest.fixture
def teacher(make_teacher: Callable[..., Path]) -> Teacher:
    return load_teacher(make_teacher())


def darker(rainy: Image) -> Image:
    return rainy - np.minimum(rainy, 20)


def nothing(rainy: Image) -> Image:
    return rainy


@pytest.mark.parametrize("student", [darker, nothing])
def test_losses_are_those_of_a_loop_over_the_pictures(
    student: Callable[[Image], Image],
    pairs: dict[str, list[tuple[Image, Image]]],
    config: EvaluationConfig,
    teacher: Teacher,
    tmp_path: Path,
) -> None:
    scores = AgainstTeacher(teacher, config, tmp_path / "kept", progress=False)(student)
    assert scores.quality == evaluate(student, config, progress=False)
    assert scores.quality == without_teacher(config, progress=False)(student, ()).quality
    assert scores.teacher is not None
    assert (scores.teacher.name, scores.teacher.sha256) == ("wise", teacher.sha256)
    assert [(row.dataset, row.protocol) for row in scores.teacher.rows] == [
        (row.dataset, row.protocol) for row in scores.quality
    ]
    for name, group in pairs.items():
        for protocol in PROTOCOLS:
            lost, unlike, alike = [], [], []
            for rainy, clean in group:
                wise, ours = derain(teacher, rainy, 4), student(rainy)
                theirs, own = (min(psnr(each, clean, protocol), 100) for each in (wise, ours))
                lost.append(theirs - own)
                unlike.append(ssim(wise, clean, protocol) - ssim(ours, clean, protocol))
                alike.append(psnr(ours, wise, protocol))
            row = scores.teacher.row(name, protocol)
            assert row is not None
            found = row.psnr_loss_db, row.ssim_loss, row.fidelity_db
            assert found == pytest.approx([np.mean(each) for each in (lost, unlike, alike)])


def test_the_teacher_derains_each_picture_once_for_all_students(
    config: EvaluationConfig, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*arguments: object) -> Image:
        calls.append(0)
        return derain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("compress.teacher.derain", counted)
    score = AgainstTeacher(teacher, config, tmp_path / "kept", progress=False)
    first = [score(student) for student in (darker, nothing, darker)]
    assert first[0] == first[2] != first[1]
    assert len(calls) == 3
    again = AgainstTeacher(teacher, config, tmp_path / "kept", progress=False)
    assert again(darker) == first[0]
    assert len(calls) == 3


def test_a_teacher_as_student_loses_nothing(
    config: EvaluationConfig, teacher: Teacher, tmp_path: Path
) -> None:
    score = AgainstTeacher(teacher, config, tmp_path / "kept", progress=False)
    loss = score(lambda rainy: derain(teacher, rainy, 4)).teacher
    assert loss is not None
    for row in loss.rows:
        assert (row.psnr_loss_db, row.ssim_loss, row.fidelity_db) == (0, 0, 100)


def test_who_learned_from_it_is_in_the_recipe(
    config: EvaluationConfig, teacher: Teacher, tmp_path: Path
) -> None:
    score = AgainstTeacher(teacher, config, tmp_path / "kept", progress=False)
    recipe = ("distill: two steps", f"teacher wise sha256 {teacher.sha256}, views 1", "export")
    taught, alone = score(darker, recipe).teacher, score(darker, recipe[::2]).teacher
    assert taught is not None
    assert alone is not None
    assert (taught.taught, alone.taught) == (True, False)


def test_the_table_says_whether_it_was_the_teacher() -> None:
    row = LossRow(dataset="wet", protocol="y", psnr_loss_db=0.126, ssim_loss=-0.00123)
    loss = TeacherLoss(name="wise", sha256="a" * 64, taught=False, rows=(row,))
    lines = loss_table(loss).splitlines()
    assert lines[0] == "measured against, not learned from, wise (sha256 aaaaaaaaaaaa):"
    assert lines[-1].split() == ["|", "wet", "|", "y", "|", "0.13", "|", "-0.0012", "|", "–", "|"]
    known = TeacherLoss(
        name="wise", sha256="a" * 64, taught=True,
        rows=(LossRow(dataset="wet", protocol="y", psnr_loss_db=0, ssim_loss=0, fidelity_db=9.5),),
    )  # fmt: skip
    assert loss_table(known).startswith("learned from wise")
    assert loss_table(known).endswith("9.50 |")
