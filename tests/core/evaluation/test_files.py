import csv
import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import cli
from core.checkpoint import load_checkpoint, save_checkpoint
from core.config import build_config
from core.errors import DataError
from core.evaluation.evaluate import EvaluationConfig, mean_rows, score_pairs
from core.evaluation.files import (
    ReferenceWriter,
    check_picture_targets,
    check_text_target,
    downloaded_sets,
    save_picture,
    scores_csv,
    teacher_of,
)
from edge_runtime.errors import CardError, UsageError
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from edge_runtime.report.reference import ReferenceTeacher, read_reference
from edge_runtime.report.scores import score_reference


@pytest.fixture
def config(data_root: Path) -> EvaluationConfig:
    values: dict[str, Any] = {
        "data_root": str(data_root),
        "sets": {
            "pairs": {"source": {"layout": "side_by_side", "root": "pairs"}},
            "dry, too": {"source": {"layout": "clean", "root": "dry"}},
        },
    }
    return build_config(EvaluationConfig, values, "config")


def test_the_means_of_the_csv_are_the_table(config: EvaluationConfig) -> None:
    scores = [each.score for each in score_pairs(lambda rainy: rainy // 2, config, False)]
    text = scores_csv(scores)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == (
        "dataset,picture,rgb_input_psnr,rgb_input_ssim,rgb_psnr,rgb_ssim,"
        "y_input_psnr,y_input_ssim,y_psnr,y_ssim"
    )
    assert [(line["dataset"], line["picture"]) for line in lines] == [
        *(("pairs", f"{i}.png") for i in range(3)),
        *(("dry, too", f"{i}.png") for i in range(2)),
    ]
    rows = mean_rows(scores)
    assert [row.dataset for row in rows] == ["pairs", "pairs", "dry, too", "dry, too"]
    for row in rows:
        own = [line for line in lines if line["dataset"] == row.dataset]
        assert row.images == len(own)
        for name in ("input_psnr", "input_ssim", "psnr", "ssim"):
            column = [float(line[f"{row.protocol}_{name}"]) for line in own]
            assert getattr(row, name) == float(np.mean(column))


def test_text_targets_are_refused_before_any_work(tmp_path: Path) -> None:
    check_text_target("--csv", tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"^--csv .*: is a folder; name a file in it"):
        check_text_target("--csv", tmp_path)
    with pytest.raises(UsageError, match=r"^--csv .*none is no folder that can be written to"):
        check_text_target("--csv", tmp_path / "none/a.csv")


def test_pictures_are_saved_without_loss(config: EvaluationConfig, tmp_path: Path) -> None:
    out = tmp_path / "new/out"
    check_picture_targets(config, out, force=False)
    assert not out.exists()
    expected = {}
    for score, _, _, derained in score_pairs(lambda rainy: rainy - 40, config, False):
        save_picture(out, score, derained)
        expected[out / score.dataset / score.picture] = derained
    assert set(out.rglob("*.png")) == set(expected)
    assert out / "pairs/2.png" in expected
    for path, derained in expected.items():
        np.testing.assert_array_equal(read_picture(path).rgb, derained)


def test_existing_files_need_force(config: EvaluationConfig, tmp_path: Path) -> None:
    (tmp_path / "out/pairs").mkdir(parents=True)
    (tmp_path / "out/pairs/1.png").touch()
    with pytest.raises(UsageError, match=r"pairs/1\.png exists already; add --force"):
        check_picture_targets(config, tmp_path / "out", force=False)
    check_picture_targets(config, tmp_path / "out", force=True)


def test_the_sets_themselves_are_never_replaced(config: EvaluationConfig) -> None:
    with pytest.raises(UsageError, match=r"pairs/0\.png is a picture of the set; name another"):
        check_picture_targets(config, Path(config.data_root), force=True)


def test_two_pictures_of_one_stem_are_refused(
    config: EvaluationConfig, picture, tmp_path: Path
) -> None:
    write_picture(Path(config.data_root) / "dry/0.jpg", Picture(picture(20, 20)))
    with pytest.raises(UsageError, match=r"dry/0\.jpg and .*dry/0\.png would both be written to"):
        check_picture_targets(config, tmp_path / "out", force=True)


def test_wrong_places(config: EvaluationConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^--save .*file: is a file, and a folder is needed"):
        check_picture_targets(config, tmp_path / "file", force=True)
    score, _, _, derained = next(score_pairs(lambda rainy: rainy, config, False))
    with pytest.raises(UsageError, match=r"^--save .*file/pairs: cannot be made"):
        save_picture(tmp_path / "file", score, derained)
    (Path(config.data_root) / "dry").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="no such folder"):
        check_picture_targets(config, tmp_path / "out", force=False)


TEACHER = ReferenceTeacher(name="master", sha256="0" * 64)


@pytest.fixture
def referenced(data_root: Path) -> EvaluationConfig:
    values: dict[str, Any] = {
        "data_root": str(data_root),
        "sets": {
            "pairs": {"source": {"layout": "side_by_side", "root": "pairs"}},
            "group/wet": {"source": {"layout": "clean", "root": "dry"}, "rain": {"seed": 3}},
        },
    }
    return build_config(EvaluationConfig, values, "config")


def _dim(rainy: np.ndarray) -> np.ndarray:
    return rainy - np.uint8(30)


def _write(folder: Path, referenced: EvaluationConfig, *, force: bool = False) -> None:
    with ReferenceWriter(folder, TEACHER, force=force) as writer:
        for scored in score_pairs(_dim, referenced, False):
            writer.add(scored)
        writer.finish()


def test_a_reference_set_holds_what_was_scored(
    tmp_path: Path, referenced: EvaluationConfig
) -> None:
    _write(tmp_path / "set", referenced)
    found = read_reference(tmp_path / "set")
    assert found.index.teacher == TEACHER
    assert [(p.dataset, p.name) for p in found.index.pictures] == [
        *(("pairs", f"{i}") for i in range(3)),
        *(("group/wet", f"{i}") for i in range(2)),
    ]
    for picture, scored in zip(
        found.index.pictures, score_pairs(_dim, referenced, False), strict=True
    ):
        np.testing.assert_array_equal(found.read(picture, "rainy"), scored.rainy)
        np.testing.assert_array_equal(found.read(picture, "clean"), scored.clean)
        np.testing.assert_array_equal(found.read(picture, "teacher"), scored.derained)
    entries = {path.name for path in (tmp_path / "set").iterdir()}
    assert entries == {"rainy", "clean", "teacher", "reference.json"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_device_finds_the_scores_of_the_evaluation(
    tmp_path: Path, referenced: EvaluationConfig
) -> None:
    _write(tmp_path / "set", referenced)
    scored = list(score_pairs(_dim, referenced, False))
    device = list(score_reference(lambda rainy: rainy, read_reference(tmp_path / "set")))
    for here, (rgb, _) in zip(scored, device, strict=True):
        assert rgb.teacher_psnr == here.score.after["rgb"].psnr
        assert rgb.psnr == here.score.before["rgb"].psnr
        assert rgb.psnr_loss_db == here.score.after["rgb"].psnr - here.score.before["rgb"].psnr


def test_a_set_is_read_again_as_data(tmp_path: Path, referenced: EvaluationConfig) -> None:
    _write(tmp_path / "set", referenced)
    again = downloaded_sets(str(tmp_path / "set"), None)
    assert list(again.sets) == ["pairs", "group/wet"]
    before = [s.score.before for s in score_pairs(_dim, referenced, False)]
    assert [s.score.before for s in score_pairs(_dim, again, False)] == before


def test_a_set_replaces_another_only_by_force_and_leaves_other_files(
    tmp_path: Path, referenced: EvaluationConfig
) -> None:
    folder = tmp_path / "set"
    _write(folder, referenced)
    (folder / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already; add --force"):
        _write(folder, referenced)
    _write(folder, downloaded_sets(str(folder), None).only(["pairs"]), force=True)
    assert read_reference(folder).datasets == ("pairs",)
    assert (folder / "README.md").read_text(encoding="utf-8") == "mine"
    assert not (folder / "rainy/group").exists()
    assert [path.name for path in tmp_path.iterdir() if "set" in path.name] == ["set"]


@pytest.mark.parametrize("force", [True, False])
def test_what_is_no_reference_set_is_never_replaced(
    tmp_path: Path, referenced: EvaluationConfig, force: bool
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name in ("photos", "file"):
        with pytest.raises(UsageError, match=f"{name}: is no reference set"):
            _write(tmp_path / name, referenced, force=force)


def test_a_run_that_breaks_off_leaves_nothing(tmp_path: Path, referenced: EvaluationConfig) -> None:
    def interrupted(rainy: np.ndarray) -> np.ndarray:
        seen.append(rainy)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return rainy

    def write() -> None:
        with ReferenceWriter(tmp_path / "new/set", TEACHER, force=False) as writer:
            for scored in score_pairs(interrupted, referenced, False):
                writer.add(scored)

    seen: list[np.ndarray] = []
    with pytest.raises(KeyboardInterrupt):
        write()
    assert len(seen) == 2
    assert not list((tmp_path / "new").iterdir())


def test_two_pictures_of_one_name_are_refused(tmp_path: Path, referenced: EvaluationConfig) -> None:
    with ReferenceWriter(tmp_path / "set", TEACHER, force=False) as writer:
        scored = next(iter(score_pairs(_dim, referenced, False)))
        writer.add(scored)
        with pytest.raises(DataError, match="pairs: two pictures are named 0"):
            writer.add(scored)
    assert not (tmp_path / "set").exists()


def test_teachers_are_known_by_card_or_by_name(tmp_path: Path) -> None:
    small = load_checkpoint("small")
    save_checkpoint(tmp_path / "best.safetensors", dataclasses.replace(small, name="own"))
    assert teacher_of(tmp_path / "best.safetensors").name == "own"
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights")
    found = teacher_of(path)
    assert (found.name, found.card) == ("net", None)
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "net.onnx.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CardError):
        teacher_of(path)


def test_evaluate_writes_a_set_and_scores_on_it(
    tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "set")
    quality = tmp_path / "quality.yaml"
    source = "{layout: side_by_side, root: pairs}"
    text = f"data_root: {data_root}\nsets: {{pairs: {{source: {source}}}}}"
    quality.write_text(text, encoding="utf-8")
    command = ["evaluate", "--model", "small"]
    assert cli.main([*command, "--config", str(quality), "--reference", folder]) == 0
    first = capsys.readouterr().out
    found = read_reference(Path(folder))
    assert found.index.teacher.card is not None
    assert found.index.teacher.name == "small"
    assert cli.main([*command, "--root", folder]) == 0
    assert capsys.readouterr().out == first
    assert cli.main([*command, "--root", folder, "--reference", folder]) == 2
    assert "exists already; add --force" in capsys.readouterr().err
    assert cli.main([*command, "--root", folder, "--reference", folder, "--force"]) == 0
    assert read_reference(Path(folder)).index == found.index


def test_a_malformed_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reference.json").write_text('{"schema": 1}', encoding="utf-8")
    assert cli.main(["evaluate", "--model", "small", "--root", str(tmp_path)]) == 1
    assert "key 'teacher' is missing" in capsys.readouterr().err
