"""From checkpoint to folder: nothing arrives that has not been run."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.against_teacher import Scores
from core.checkpoint import Checkpoint
from core.evaluation.evaluate import Derain
from edge_runtime.derainer import Derainer
from edge_runtime.errors import CardError
from edge_runtime.models.card import (
    LossRow,
    ModelCard,
    TeacherLoss,
    card_path,
    load_card,
    write_card,
)
from export import artifact as artifact_module
from export import build as build_module
from export.artifact import read_embedded_card, write_artifact
from export.artifact_card import make_card
from export.build import Built, build_onnx, build_tflite
from export.errors import ExportError, ParityError
from export.to_onnx import to_onnx
from export.verify import verify
from tests.helpers import score_set


def test_the_artifact_runs_on_the_device(checkpoint: Checkpoint, tmp_path: Path) -> None:
    built = build_onnx(checkpoint, tmp_path / "new" / "folder", name="other")
    assert built.artifact == tmp_path / "new" / "folder" / "other_fp32.onnx"
    assert load_card(built.artifact) == built.card
    assert built.card.name == "other"
    assert built.checks
    rainy = np.random.default_rng(0).integers(0, 256, (37, 23, 3), dtype=np.uint8)
    assert Derainer.load(built.artifact)(rainy).shape == rainy.shape


def test_quality_is_measured_on_the_artifact(checkpoint: Checkpoint, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)

    def score(derain: Derain, recipe: Sequence[str] = ()) -> Scores:
        seen.append(tuple(recipe))
        quality = score_set(derain, "one", [(picture, picture)])
        row = LossRow(dataset="one", protocol="y", psnr_loss_db=0.25, ssim_loss=0.5, fidelity_db=30)
        return Scores(quality, TeacherLoss(name="wise", sha256="1" * 64, taught=True, rows=(row,)))

    seen: list[tuple[str, ...]] = []
    built = build_onnx(checkpoint, tmp_path, quality=score)
    expected = dataclasses.replace(
        built.card, **score(Derainer.load(built.artifact, threshold=None))._asdict()
    )
    assert built.card == expected  # which keeps no more digits than a card does
    assert built.card.quality[0].psnr > 0
    assert built.card.teacher is not None
    assert read_embedded_card(built.artifact) == expected.embedded()
    assert seen[0] == checkpoint.recipe


def test_a_folder_that_cannot_be_made_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="file: cannot be made"):
        build_onnx(checkpoint, tmp_path / "file")


def test_no_partial_folder_for_a_wrong_target(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "tiny_fp32.onnx").mkdir()
    with pytest.raises(ExportError, match=r"tiny_fp32\.onnx: is a folder"):
        build_onnx(checkpoint, tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_fp32.onnx"]


Build = Callable[..., Built]


@pytest.fixture(params=(build_onnx, build_tflite), ids=("onnx", "tflite"))
def build(request: pytest.FixtureRequest) -> Build:
    function: Build = request.param
    return function


@pytest.fixture
def built(build: Build, checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return build(checkpoint, tmp_path / "artifact").artifact


def test_a_failed_verification_keeps_what_was_there(
    build: Build, built: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in built.parent.iterdir()}

    def refuse(artifact: Path, checkpoint: Checkpoint) -> list[object]:
        raise ParityError("differs")

    monkeypatch.setattr(build_module, "verify", refuse)
    with pytest.raises(ParityError):
        build(checkpoint, built.parent, force=True)
    assert {path: path.read_bytes() for path in built.parent.iterdir()} == before


def test_what_is_there_is_replaced_only_when_asked(
    build: Build, built: Path, checkpoint: Checkpoint
) -> None:
    other = dataclasses.replace(checkpoint, recipe=("train: another",))
    before = built.read_bytes()
    with pytest.raises(ExportError, match="exists already; add --force to replace it"):
        build(other, built.parent)
    assert built.read_bytes() == before
    assert "train: another" in build(other, built.parent, force=True).card.recipe


def test_a_damaged_file_is_refused_before_it_runs(built: Path, checkpoint: Checkpoint) -> None:
    content = bytearray(built.read_bytes())
    content[len(content) // 2] ^= 1
    built.write_bytes(content)
    with pytest.raises(CardError, match="sha256"):
        verify(built, checkpoint)


def test_cards_that_disagree_are_refused(built: Path, checkpoint: Checkpoint) -> None:
    write_card(built, dataclasses.replace(load_card(built), halo=0))
    with pytest.raises(ExportError, match="the card inside differs"):
        verify(built, checkpoint)


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
