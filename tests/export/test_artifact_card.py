"""The card says what the checkpoint and the cost say."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from compress.against_teacher import Scores
from compress.checkpoint_card import GLOBAL_HALO
from compress.cost import measure_cost
from core.checkpoint import Checkpoint, save_checkpoint
from core.networks import ARCHITECTURES
from core.networks.gan_lstm import GanLstmConfig
from edge_runtime.errors import CardError
from edge_runtime.models.card import (
    LossRow,
    ModelCard,
    QualityRow,
    TeacherLoss,
    card_path,
    load_card,
)
from edge_runtime.models.records import to_plain
from export.artifact_card import card_checkpoint, make_card

ROW = QualityRow(
    dataset="val", images=1, protocol="y", input_psnr=20, input_ssim=0.5, psnr=25, ssim=0.9
)

LOST = LossRow(dataset="val", protocol="y", psnr_loss_db=0.5, ssim_loss=0.01)
SCORES = Scores((ROW,), TeacherLoss(name="wise", sha256="1" * 64, taught=True, rows=(LOST,)))


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "tiny.safetensors", checkpoint)
    return tmp_path / "tiny.safetensors"


def test_card_of_a_checkpoint(checkpoint: Checkpoint) -> None:
    card = make_card(checkpoint, "onnx", [ROW])
    cost = measure_cost(checkpoint.build(), 4)
    assert (card.name, card.role, card.architecture) == ("tiny", "student", "student")
    assert card.config == to_plain(checkpoint.config)
    assert (card.format, card.precision, card.layout) == ("onnx", "fp32", "NCHW")
    assert (card.size_multiple, card.halo, card.tiling_exact) == (4, cost.halo, True)
    assert (card.parameters, card.macs_per_pixel) == (cost.parameters, cost.macs_per_pixel)
    assert card.quality == (ROW,)
    assert card.recipe == ("train: two steps", "export: onnx fp32")
    assert card.data == ("rain800",)
    assert card.versions.keys() == {"lightning", "torch", "onnx", "edge-derain"}
    assert card.licence == (
        "Code Apache-2.0. Weights trained on research data (rain800): non-commercial research use."
    )
    assert (card.bytes, card.sha256) == (None, None)


@pytest.mark.parametrize(
    ("data", "stated", "licence"),
    [
        (("my_photos",), "", "Weights: no licence is stated."),
        (("my_photos",), "CC BY 4.0", "Weights: CC BY 4.0."),
        ((), "MIT", "Weights: MIT."),
        (
            ("my_photos", "clean_bsds"),
            "for me",
            "for me. Weights trained on research data (clean_bsds): non-commercial research use.",
        ),
    ],
)
def test_the_licence_is_what_is_stated_and_what_research_sets_ask(
    checkpoint: Checkpoint, data: tuple[str, ...], stated: str, licence: str
) -> None:
    card = make_card(dataclasses.replace(checkpoint, data=data, licence=stated), "onnx", [])
    assert card.licence == f"Code Apache-2.0. {licence}"
    assert ModelCard.from_json(card.to_metadata(), "x").licence == card.licence


def test_a_name_that_is_a_path_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(CardError, match=r"name must be .*'\.\./tiny'"):
        make_card(dataclasses.replace(checkpoint, name="../tiny"), "onnx")


def test_a_network_that_pools_globally_is_tiled_with_a_stated_overlap() -> None:
    config = GanLstmConfig(width=4, stages=1, blocks=1, attention="channel", radius=2)
    weights = ARCHITECTURES["gan_lstm"].module(config).state_dict()
    card = make_card(Checkpoint("global", "teacher", "gan_lstm", config, weights), "onnx")
    assert (card.halo, card.tiling_exact) == (GLOBAL_HALO, False)


def test_the_card_of_the_checkpoint_itself(checkpoint: Checkpoint, saved: Path) -> None:
    made = card_checkpoint(saved, checkpoint, SCORES)
    assert load_card(saved) == made
    assert (made.format, made.precision, made.layout) == ("safetensors", "fp32", "NCHW")
    assert made.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert made.recipe == checkpoint.recipe
    assert made.versions.keys() == {"lightning", "torch", "safetensors", "edge-derain"}
    artifact = make_card(checkpoint, "onnx")
    for name in ("name", "config", "halo", "parameters", "macs_per_pixel", "data", "licence"):
        assert getattr(made, name) == getattr(artifact, name)


def test_scores_of_the_same_weights_are_kept(checkpoint: Checkpoint, saved: Path) -> None:
    assert card_checkpoint(saved, checkpoint).quality == ()
    card_checkpoint(saved, checkpoint, SCORES)
    kept = card_checkpoint(saved, checkpoint)
    assert (kept.quality, kept.teacher) == SCORES
    assert card_checkpoint(saved, checkpoint, Scores()).quality == ()
    card_checkpoint(saved, checkpoint, SCORES)
    moved = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 1}
    save_checkpoint(saved, dataclasses.replace(checkpoint, weights=moved))
    assert card_checkpoint(saved, checkpoint).quality == ()


def test_another_place_for_the_card(checkpoint: Checkpoint, saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    made = card_checkpoint(saved, checkpoint, SCORES, out)
    assert ModelCard.from_json(out.read_text(), out) == made
    assert card_checkpoint(saved, checkpoint, out=out) == made
    assert not card_path(saved).exists()


def test_a_damaged_card_is_not_thrown_away(checkpoint: Checkpoint, saved: Path) -> None:
    card_path(saved).write_text("{")
    with pytest.raises(
        CardError, match=r"\.json: not JSON .*or remove it, or score again with --q"
    ):
        card_checkpoint(saved, checkpoint)
    assert card_path(saved).read_text() == "{"
    assert card_checkpoint(saved, checkpoint, Scores()) == load_card(saved)
    card_path(saved).write_bytes(b"\xff")
    with pytest.raises(CardError, match="the card that it replaces cannot be read"):
        card_checkpoint(saved, checkpoint)
