import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.card import ModelCard, card_path, load_card, write_card
from edge_runtime.derainer import Derainer
from edge_runtime.errors import CardError, ModelNotFoundError
from edge_runtime.models import find_model, list_models

SaveModel = Callable[..., Path]


@pytest.fixture
def weights(tmp_path: Path, save_model: SaveModel) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_model("small_fp32", folder=folder, name="small")
    save_model("small_a_int8", folder=folder, name="small", precision="int8")
    save_model("nano_int8", folder=folder, name="nano", precision="int8")
    return folder


def test_list(weights: Path) -> None:
    listed = list_models(weights)
    assert [path.stem for path, _ in listed] == ["nano_int8", "small_a_int8", "small_fp32"]
    assert [card.name for _, card in listed] == ["nano", "small", "small"]
    assert list_models(weights / "missing") == []


def test_checkpoints_with_cards_are_not_offered(weights: Path, card: ModelCard) -> None:
    checkpoint = weights / "teacher.safetensors"
    checkpoint.write_bytes(b"weights")
    write_card(checkpoint, dataclasses.replace(card, name="teacher", format="safetensors"))
    assert load_card(checkpoint).format == "safetensors"
    assert "teacher" not in [card.name for _, card in list_models(weights)]
    with pytest.raises(ModelNotFoundError, match="model 'teacher': unknown"):
        find_model("teacher", weights)
    with pytest.raises(ModelNotFoundError, match=r"must be an \.onnx file"):
        find_model(checkpoint, weights)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("small", "small_fp32"), ("nano", "nano_int8"), ("small_a_int8", "small_a_int8")],
)
def test_names(weights: Path, name: str, stem: str) -> None:
    assert find_model(name, weights) == weights / f"{stem}.onnx"


def test_paths(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights / "nano_int8.onnx"
    assert find_model(path) == path
    assert find_model(str(path)) == path
    monkeypatch.chdir(weights)
    assert find_model("nano_int8.onnx") == Path("nano_int8.onnx")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("smal", "did you mean 'small'"),
        ("zzz", r"There are: nano, nano_int8, small, small_a_int8, small_fp32"),
        ("..", "unknown"),
        ("", "unknown"),
        ("../weights/small_fp32", r"must be an \.onnx file"),
        ("missing.onnx", "no such file"),
        ("folder/missing.onnx", "no such file"),
        (Path("small"), r"must be an \.onnx file"),
    ],
)
def test_unknown(weights: Path, model: str | Path, message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        find_model(model, weights)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there are no models in"):
        find_model("small", tmp_path)


def test_an_artifact_without_its_card(weights: Path) -> None:
    card_path(weights / "nano_int8.onnx").unlink()
    with pytest.raises(CardError, match=r"no card beside nano_int8\.onnx"):
        find_model("small", weights)


@pytest.mark.parametrize(
    ("path", "card"), list_models(), ids=lambda value: getattr(value, "stem", "")
)
def test_what_ships_is_whole_and_runs(path: Path, card: ModelCard) -> None:
    assert load_card(path) == card
    assert path.stem.startswith(card.name)
    picture = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    derained = Derainer.load(path.stem, threads=1)(picture)
    assert derained.shape == picture.shape
    assert derained.dtype == np.uint8
