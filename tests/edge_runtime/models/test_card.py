import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import CardError
from edge_runtime.models.card import (
    Golden,
    LossRow,
    ModelCard,
    StageStep,
    TeacherLoss,
    card_path,
    load_card,
    read_card,
    write_card,
)


def _edited(card: ModelCard, **changes: Any) -> str:
    return json.dumps({**json.loads(card.to_json()), **changes})


def test_round_trip(card: ModelCard) -> None:
    row = LossRow(dataset="rain800-val", protocol="y", psnr_loss_db=0.4, ssim_loss=-0.001)
    rows = (row, dataclasses.replace(row, protocol="rgb", fidelity_db=35.5))
    loss = TeacherLoss(name="gan-lstm", sha256="0" * 64, taught=True, rows=rows)
    golden = Golden(
        drawer=1,
        seed=0,
        height=64,
        width=64,
        input_sha256="1" * 64,
        output_sha256="2" * 64,
        mean=(1.0, 2.5, 3.0),
        deviation=(0.5, 0.5, 0.0),
        samples="00ff7f",
    )
    step = StageStep(stages=6, state_width=32, state_scale=4)
    full = dataclasses.replace(
        card, teacher=loss, golden=golden, step=step, io="int8", bytes=10, sha256="a" * 64
    )
    for each in (card, full):
        text = each.to_json()
        assert ModelCard.from_json(text, "here") == each
        assert ModelCard.from_json(text, "here").to_json() == text
        assert text.endswith("}\n")
        inside = each.to_metadata()
        assert ModelCard.from_json(inside, "here") == each.embedded()
        assert "\n" not in inside


def test_keys_are_in_the_order_of_the_fields(card: ModelCard) -> None:
    assert list(json.loads(card.to_json())) == [f.name for f in dataclasses.fields(ModelCard)]


def test_tuples_in_the_config_read_back_equal(card: ModelCard) -> None:
    made = dataclasses.replace(card, config={"channels": (1, 2)})
    assert made == ModelCard.from_json(made.to_json(), "here")


def test_identical_pairs_have_infinite_psnr_and_null_in_json(card: ModelCard) -> None:
    row = dataclasses.replace(card.quality[0], dataset="dry", input_psnr=math.inf)
    made = dataclasses.replace(card, quality=(row,))
    assert json.loads(made.to_json())["quality"][0]["input_psnr"] is None
    assert ModelCard.from_json(made.to_json(), "here") == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../small"),
        ("name", ""),
        ("role", "pupil"),
        ("format", "onxx"),
        ("precision", "float32"),
        ("io", "uint16"),
        ("layout", "CHW"),
        ("size_multiple", 0),
        ("size_multiple", True),
        ("size_multiple", 8.0),
        ("halo", -1),
        ("tiling_exact", 1),
        ("parameters", "many"),
        ("macs_per_pixel", "7k"),
        ("quality", ""),
        ("recipe", "train"),
        ("data[0]", [1]),
        ("versions[...]", {"onnx": 1}),
        ("licence", " "),
        ("bytes", 0),
        ("sha256", "A" * 64),
        ("config", []),
    ],
)
def test_a_wrong_value_is_named(card: ModelCard, field: str, value: Any) -> None:
    with pytest.raises(CardError, match=rf"^x\.json: {re.escape(field)} must be"):
        ModelCard.from_json(_edited(card, **{field.partition("[")[0]: value}), "x.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"golden": "none"}, "golden must be object"),
        ({"golden": {"drawer": 1}}, "golden: key 'seed' is missing"),
        ({"step": {"stages": 6, "state_width": 0, "state_scale": 1}}, r"step\.state_width must be"),
        ({"halos": 1}, r"unknown key 'halos'; did you mean 'halo'\?"),
        ({"quality": [{"dataset": "a"}]}, r"quality\[0\]: key 'images' is missing"),
        ({"quality": {"columns": ["dataset"], "rows": [["a"]]}}, r"quality\[0\]: key 'images' is"),
        ({"quality": {"columns": ["dataset"], "rows": [["a", "b"]]}}, "quality must be array"),
        ({"quality": {"columns": ["dataset"], "rows": 3}}, "quality must be array"),
        ({"quality": {"columns": ["dataset"]}}, "quality must be array"),
        ({"quality": "none"}, "quality must be array, got 'none'"),
        ({"schema": 5, "something_new": 1}, ".*pip install --upgrade"),
        *(({"schema": wrong}, "schema must be from 1 to 4") for wrong in ("one", 0, [1], None)),
    ],
)
def test_what_is_wrong_deeper_is_named(
    card: ModelCard, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CardError, match=rf"^x\.json: {message}"):
        ModelCard.from_json(_edited(card, **changes), "x.json")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_refused(card: ModelCard, value: float) -> None:
    with pytest.raises(CardError, match="macs_per_pixel"):
        dataclasses.replace(card, macs_per_pixel=value)
    with pytest.raises(CardError, match="config"):
        dataclasses.replace(card, config={"gain": value})
    with pytest.raises(CardError, match="not JSON"):
        ModelCard.from_json(_edited(card, macs_per_pixel=value), "x")
    with pytest.raises(CardError, match=r"quality\[0\]\.ssim must be"):
        dataclasses.replace(card, quality=(dataclasses.replace(card.quality[0], ssim=value),))


def test_a_missing_key_is_named(card: ModelCard) -> None:
    values = json.loads(card.to_json())
    del values["halo"]
    with pytest.raises(CardError, match="key 'halo' is missing"):
        ModelCard.from_json(json.dumps(values), "x")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"card"', "[" * 100_000])
def test_not_a_card(text: str) -> None:
    with pytest.raises(CardError, match=r"^x: "):
        ModelCard.from_json(text, "x")


def test_cards_of_the_first_schema_are_read(card: ModelCard) -> None:
    old = json.loads(card.to_json())
    for key in ("io", "golden", "step"):
        del old[key]
    assert ModelCard.from_json(json.dumps({**old, "schema": 1}), "x") == card


def test_a_loss_of_the_second_schema_is_read(card: ModelCard) -> None:
    row = {"psnr_loss_db": 0.25, "ssim_loss": 0.01, "dataset": "val", "protocol": "rgb"}
    old = {"name": "wise", "sha256": "1" * 64, **row}
    for recipe, taught in (["train"], False), (["distill: teacher wise sha256 " + "1" * 64], True):
        made = ModelCard.from_json(_edited(card, schema=2, teacher=old, recipe=recipe), "x")
        assert made.schema == 4
        rows = (LossRow(**row),)
        assert made.teacher == TeacherLoss(name="wise", sha256="1" * 64, taught=taught, rows=rows)
        assert made.teacher.row("val", "rgb") == rows[0]
        assert made.teacher.row("val", "y") is None
    with pytest.raises(CardError, match="teacher: key 'rows' is missing"):
        ModelCard.from_json(_edited(card, teacher={**old, "taught": True}), "x")


def test_an_artifact_carries_no_scores(card: ModelCard) -> None:
    row = LossRow(dataset="val", protocol="rgb", psnr_loss_db=0.4, ssim_loss=0.01)
    loss = TeacherLoss(name="wise", sha256="0" * 64, taught=False, rows=(row,))
    made = dataclasses.replace(card, teacher=loss, bytes=7, sha256="1" * 64)
    inside = ModelCard.from_json(made.to_metadata(), "x")
    assert inside == made.embedded() == card.embedded()
    assert (inside.quality, inside.teacher, inside.golden, inside.sha256) == ((), None, None, None)
    assert inside.embedded() == inside


def test_scores_that_older_artifacts_carry_are_read(card: ModelCard) -> None:
    loss = {"columns": ["dataset", "protocol", "psnr_loss_db", "ssim_loss", "fidelity_db"]}
    loss["rows"] = [["val", "rgb", 0.4, 0.01, None]]
    rows = json.loads(card.to_json())["quality"]
    table = {"columns": list(rows[0]), "rows": [list(row.values()) for row in rows]}
    teacher = {"name": "wise", "sha256": "0" * 64, "taught": False, "rows": loss}
    found = ModelCard.from_json(_edited(card, quality=table, teacher=teacher), "x")
    assert found.quality == card.quality
    assert found.teacher is not None
    assert found.teacher.rows[0].psnr_loss_db == 0.4


def test_a_card_keeps_the_digits_that_say_something(card: ModelCard) -> None:
    row = dataclasses.replace(card.quality[0], psnr=26.123456, ssim=0.87654321)
    lost = LossRow(
        dataset="val", protocol="y", psnr_loss_db=0.123456, ssim_loss=1e-7, fidelity_db=9
    )
    loss = TeacherLoss(name="wise", sha256="0" * 64, taught=False, rows=(lost,))
    made = dataclasses.replace(card, quality=(row,), teacher=loss)
    assert (made.quality[0].psnr, made.quality[0].ssim) == (26.1235, 0.876543)
    assert made.teacher is not None
    assert (made.teacher.rows[0].psnr_loss_db, made.teacher.rows[0].ssim_loss) == (0.1235, 0)


def test_write_card_adds_size_and_hash(tmp_path: Path, card: ModelCard) -> None:
    artifact = tmp_path / "m.onnx"
    artifact.write_bytes(b"weights")
    written = write_card(artifact, card)
    assert card_path(artifact) == tmp_path / "m.onnx.json"
    assert written.bytes == 7
    assert written.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert load_card(artifact) == written
    assert dataclasses.replace(written, bytes=None, sha256=None) == card


def test_a_card_of_another_artifact_is_refused(tmp_path: Path, card: ModelCard) -> None:
    artifact = tmp_path / "m.onnx"
    artifact.write_bytes(b"weights")
    write_card(artifact, card)
    artifact.write_bytes(b"weightz")
    with pytest.raises(CardError, match="sha256"):
        load_card(artifact)
    artifact.write_bytes(b"more weights")
    with pytest.raises(CardError, match="has 12 bytes but its card says 7"):
        load_card(artifact)
    artifact.unlink()
    with pytest.raises(CardError, match="cannot be read"):
        load_card(artifact)


def test_a_missing_or_incomplete_card_is_refused(tmp_path: Path, card: ModelCard) -> None:
    artifact = tmp_path / "m.onnx"
    artifact.write_bytes(b"weights")
    with pytest.raises(CardError, match=r"m\.onnx: no card inside it, nor beside it; export"):
        read_card(artifact)
    artifact.write_bytes(b"weights" + card.to_metadata().encode() + b"\xff")
    inside = read_card(artifact)
    assert inside.embedded() == card.embedded()
    assert (inside.bytes, load_card(artifact)) == (artifact.stat().st_size, inside)
    card_path(artifact).write_text(card.to_json())
    with pytest.raises(CardError, match="null"):
        read_card(artifact)
    card_path(artifact).write_bytes(b"\xff\xfe")
    with pytest.raises(CardError, match="cannot be read"):
        read_card(artifact)
