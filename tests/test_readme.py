"""What the README says of the shipped models is what their cards say."""

from __future__ import annotations

from pathlib import Path

from core.checkpoint import find_checkpoint
from core.evaluation.table import checkpoint_table, find_checkpoints, quality_table
from edge_runtime.models.card import load_card
from edge_runtime.models.catalog import list_models, model_table

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MODELS = list_models()


def test_every_student_ships_for_both_engines_in_float_and_int8() -> None:
    kinds = ("fp32.onnx", "int8.onnx", "fp16.tflite", "int8.tflite")
    wanted = {f"{name}_{kind}" for name in ("nano", "small", "base") for kind in kinds}
    assert {path.name for path, _ in MODELS} == wanted


def test_readme_lists_the_models() -> None:
    assert "\n".join(model_table(card for _, card in MODELS)) in README


def test_readme_repeats_the_card_of_the_default_model() -> None:
    (card,) = [card for path, card in MODELS if path.name == "small_fp32.onnx"]
    assert quality_table(card.quality) in README
    assert card.bytes is not None
    facts = (
        f"`{card.name}`: {card.bytes / 1000:.0f} kB, {card.parameters:,} parameters, "
        f"{card.macs_per_pixel / 1000:.2f} kMAC per pixel"
    )
    assert facts in README


def test_readme_repeats_the_table_of_checkpoints() -> None:
    shipped = ["nano", "small", "base", "gan_lstm", "gan_lstm_gan"]
    names = [*shipped, "rescan", "jorder", "gan_lstm_paper", "deconv", "deconv_paper"]
    assert checkpoint_table(find_checkpoints(names)) in README
    assert f"derain table {' '.join(names)}`" in README


def test_command_lines_are_those_that_continuous_integration_runs() -> None:
    script = (Path(__file__).parent.parent / ".ci" / "run").read_text(encoding="utf-8")
    lines = [line for line in README.splitlines() if line.startswith("pip install")]
    assert lines[0] in script
    assert lines[1] in script


def test_readme_repeats_the_score_of_the_deconvolution_network() -> None:
    card = load_card(find_checkpoint("deconv_paper"))
    (row,) = [r for r in card.quality if (r.dataset, r.protocol) == ("validation", "rgb")]
    assert f"`deconv_paper` stands at {row.psnr:.2f} dB (rgb)" in " ".join(README.split())
