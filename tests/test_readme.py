"""What the README says of the shipped models is what their cards say."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.checkpoint import SHIPPED
from core.evaluate import quality_table
from core.table import find_checkpoints, make_table, markdown
from edge_runtime.card import ModelCard
from edge_runtime.models import list_models

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MODELS = list_models()


def test_a_model_ships() -> None:
    assert [card.name for _, card in MODELS] == ["small"]


@pytest.mark.parametrize("card", [card for _, card in MODELS], ids=lambda card: card.name)
def test_readme_repeats_the_card(card: ModelCard) -> None:
    assert quality_table(card.quality) in README
    assert card.bytes is not None
    facts = (
        f"`{card.name}`: {card.bytes / 1000:.0f} kB, {card.parameters:,} parameters, "
        f"{card.macs_per_pixel / 1000:.2f} kMAC per pixel"
    )
    assert facts in README


def test_readme_repeats_the_table_of_checkpoints() -> None:
    assert markdown(make_table(find_checkpoints([str(SHIPPED)]))) in README


def test_command_lines_are_those_that_continuous_integration_runs() -> None:
    script = (Path(__file__).parent.parent / ".ci" / "run").read_text(encoding="utf-8")
    lines = [line for line in README.splitlines() if line.startswith("pip install")]
    assert lines[0] in script
    assert lines[1] in script
