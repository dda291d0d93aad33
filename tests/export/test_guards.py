"""What both formats refuse: damage, cards that disagree, what does not pass verification."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from core.checkpoint import Checkpoint
from edge_runtime.errors import CardError
from edge_runtime.models.card import load_card, write_card
from export import build as build_module
from export.build import Built, build_onnx, build_tflite
from export.errors import ExportError, ParityError
from export.verify import verify

Build = Callable[[Checkpoint, Path], Built]


@pytest.fixture(params=(build_onnx, build_tflite), ids=("onnx", "tflite"))
def build(request: pytest.FixtureRequest) -> Build:
    function: Build = request.param
    return function


@pytest.fixture
def artifact(build: Build, checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return build(checkpoint, tmp_path / "artifact").artifact


def test_a_failed_verification_keeps_what_was_there(
    build: Build, artifact: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in artifact.parent.iterdir()}

    def refuse(artifact: Path, checkpoint: Checkpoint) -> list[object]:
        raise ParityError("differs")

    monkeypatch.setattr(build_module, "verify", refuse)
    with pytest.raises(ParityError):
        build(checkpoint, artifact.parent)
    assert {path: path.read_bytes() for path in artifact.parent.iterdir()} == before


def test_a_damaged_file_is_refused_before_it_runs(artifact: Path, checkpoint: Checkpoint) -> None:
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(CardError, match="sha256"):
        verify(artifact, checkpoint)


def test_cards_that_disagree_are_refused(artifact: Path, checkpoint: Checkpoint) -> None:
    write_card(artifact, dataclasses.replace(load_card(artifact), halo=0))
    with pytest.raises(ExportError, match="the card inside differs"):
        verify(artifact, checkpoint)
