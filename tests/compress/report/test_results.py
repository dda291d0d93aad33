import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.report.results import gather
from edge_runtime.errors import CardError, RecordError, UsageError
from edge_runtime.models.card import LossRow, ModelCard, TeacherLoss
from tests.compress.report.conftest import card, device, measured, teacher_card, write

SMALL = card("small_fp32.onnx", 700, 27.5)
EIGHT = card("small_int8.tflite", 200, 27.3)


def test_cards_and_boards_of_one_artifact_become_one_entry(tmp_path: Path) -> None:
    one = device(measured("small_fp32.onnx", SMALL, 100, 0.5))
    two = device(measured("small_fp32.onnx", SMALL, 400, 0.5), cpu="Board Two")
    places = [
        write(tmp_path / "small_fp32.onnx.json", SMALL),
        write(tmp_path / "one.json", one),
        write(tmp_path / "two.json", two),
        write(tmp_path / "eight.tflite.json", EIGHT),
    ]
    found = gather(places)
    assert [entry.file for entry in found.entries] == ["small_fp32.onnx", "eight.tflite"]
    small = found.entries[0]
    assert [m.place for m in small.measured] == [
        "Board One, 1 thread, 1280 x 720",
        "Board Two, 1 thread, 1280 x 720",
    ]
    assert found.columns == ("val/rgb", "val/y", "reference/rgb", "reference/y")
    assert small.columns["reference/rgb"].images == 2
    assert small.columns["reference/rgb"].loss_db == pytest.approx(0.75)
    assert "reference/rgb" not in found.entries[1].columns


def test_a_folder_stands_for_the_files_in_it(tmp_path: Path) -> None:
    write(tmp_path / "a.json", device(measured("small_fp32.onnx", SMALL, 100, 0.5)))
    for name in ("notes.txt", "._a.json"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert [entry.file for entry in gather([tmp_path]).entries] == ["small_fp32.onnx"]


def test_loss_is_against_the_teachers_card_on_the_same_pictures(tmp_path: Path) -> None:
    places = [
        write(tmp_path / "s.onnx.json", SMALL),
        write(tmp_path / "t.safetensors.json", teacher_card()),
    ]
    found = gather(places)
    assert found.entries[0].columns["val/rgb"].loss_db == pytest.approx(0.5)
    assert found.entries[0].columns["val/y"].ssim_loss == pytest.approx(0.005)
    assert list(found.teachers.values()) == ["master"]
    for changes in ({"images": 6}, {"input_psnr": 20.02}):
        rows = [dataclasses.replace(row, **changes) for row in teacher_card().quality]
        other = dataclasses.replace(teacher_card(), quality=tuple(rows))
        write(tmp_path / "t.safetensors.json", other)
        assert gather(places).entries[0].columns["val/rgb"].loss_db is None


def test_loss_is_what_the_card_says_where_the_teacher_is_not_at_hand(tmp_path: Path) -> None:
    row = LossRow(dataset="val", protocol="rgb", psnr_loss_db=0.3, ssim_loss=0.01)
    loss = TeacherLoss(name="far", sha256="2" * 64, taught=False, rows=(row,))
    taught = dataclasses.replace(SMALL, teacher=loss)
    places = [
        write(tmp_path / "s.onnx.json", taught),
        write(tmp_path / "t.safetensors.json", teacher_card()),
    ]
    found = gather(places)
    columns = found.entries[0].columns
    assert columns["val/rgb"].loss_db == pytest.approx(0.3)
    assert columns["val/y"].loss_db is None
    assert list(found.teachers.values()) == ["far"]  # the other teacher is none of theirs
    places.append(write(tmp_path / "eight.tflite.json", EIGHT))
    assert list(gather(places).teachers.values()) == ["far", "master"]


def test_reports_on_different_pictures_are_not_compared(tmp_path: Path) -> None:
    report = measured("small_fp32.onnx", SMALL, 100, 0.5)
    one = write(tmp_path / "1.json", device(report))
    two = write(tmp_path / "2.json", device(report, cpu="Board Two", reference="2" * 64))
    with pytest.raises(UsageError, match=r"Board One .* 111111111111, Board Two on 222222222222"):
        gather([one, two])


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("x.json", "{}", RecordError, "neither a card nor what edge-report"),
        ("x.json", "[1", RecordError, "not JSON"),
        ("x.json", '{"artifacts": [], "machine": {}, "schema": 2}', RecordError, "newer"),
        ("x.json", '{"architecture": "student"}', CardError, "schema must be"),
        ("x.txt", "", UsageError, "must be a folder, an artifact"),
        ("y.onnx", "", CardError, "no card inside it"),
    ],
)
def test_what_is_no_result_is_named(
    tmp_path: Path, name: str, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        gather([tmp_path / name])


def test_results_without_an_artifact_are_refused(tmp_path: Path) -> None:
    place = write(tmp_path / "t.safetensors.json", teacher_card())
    with pytest.raises(UsageError, match="no artifact among the results"):
        gather([place])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: holds no artifact"):
        gather([tmp_path / "empty"])


def test_a_card_without_a_hash_is_refused(tmp_path: Path) -> None:
    bare: Callable[[], ModelCard] = SMALL.embedded
    place = write(tmp_path / "s.json", bare())
    with pytest.raises(CardError, match="sha256 is null"):
        gather([place])
