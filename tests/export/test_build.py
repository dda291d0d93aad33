"""From checkpoint to folder: nothing arrives that has not been run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compress.against_teacher import Scores
from core.checkpoint import Checkpoint
from core.evaluation.evaluate import Derain
from edge_runtime.derainer import Derainer
from edge_runtime.models.card import LossRow, TeacherLoss, load_card
from export.artifact import read_embedded_card
from export.build import build_onnx
from export.errors import ExportError
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
    expected = dataclasses.replace(built.card, **score(Derainer.load(built.artifact))._asdict())
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
        build_onnx(checkpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_fp32.onnx"]
