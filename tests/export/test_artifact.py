"""Artifacts on disk: the two cards agree, and a failure leaves nothing behind."""

import dataclasses
import hashlib
from pathlib import Path

import onnx
import pytest

from core.checkpoint import Checkpoint
from edge_runtime.models.card import ModelCard, card_path, load_card
from export import artifact as artifact_module
from export.artifact import read_embedded_card, write_artifact
from export.artifact_card import make_card
from export.errors import ExportError
from export.to_onnx import to_onnx


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> onnx.ModelProto:
    return to_onnx(checkpoint)


@pytest.fixture(scope="module")
def card(checkpoint: Checkpoint) -> ModelCard:
    return make_card(checkpoint, "onnx")


def test_embedded_card_equals_the_sidecar_but_for_size_and_hash(
    model: onnx.ModelProto, card: ModelCard, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.onnx"
    written = write_artifact(model, card, path)
    assert load_card(path) == written
    assert read_embedded_card(path) == card == written.embedded()
    content = path.read_bytes()
    assert (written.bytes, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert sorted(tmp_path.iterdir()) == [path, card_path(path)]
    assert not model.metadata_props


def test_equal_artifacts_have_equal_bytes(
    model: onnx.ModelProto, card: ModelCard, tmp_path: Path
) -> None:
    first = write_artifact(model, card, tmp_path / "first.onnx")
    assert write_artifact(model, card, tmp_path / "second.onnx") == first


def test_a_failing_card_leaves_nothing_behind(
    model: onnx.ModelProto, card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(artifact: Path, card: ModelCard) -> ModelCard:
        raise OSError(28, "No space left on device", str(artifact))

    monkeypatch.setattr(artifact_module, "write_card", fail)
    with pytest.raises(ExportError, match="No space left on device"):
        write_artifact(model, card, tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_keeps_what_was_there(
    model: onnx.ModelProto, card: ModelCard, artifact: Path
) -> None:
    before = artifact.read_bytes()
    card_path(artifact).unlink()
    card_path(artifact).mkdir()
    other = dataclasses.replace(card, name="other")
    with pytest.raises(ExportError, match=r"onnx\.json: is a folder"):
        write_artifact(model, other, artifact)
    assert artifact.read_bytes() == before
    assert sorted(artifact.parent.iterdir()) == [artifact, card_path(artifact)]


def test_a_missing_folder_is_named(model: onnx.ModelProto, card: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none/.*: cannot be written \(No such file"):
        write_artifact(model, card, tmp_path / "none" / "tiny.onnx")


def test_an_artifact_without_a_card_is_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "bare.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError, match=r"bare\.onnx: no card in its metadata"):
        read_embedded_card(path)


@pytest.mark.parametrize("content", [b"not a model", None])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=r"wrong\.onnx: (torn|cannot be read)"):
        read_embedded_card(path)
