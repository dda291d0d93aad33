"""TFLite artifacts: built, verified, carrying their card, and refused when tampered with."""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.against_teacher import Scores
from core.checkpoint import Checkpoint, save_checkpoint
from edge_runtime.derainer import Derainer
from edge_runtime.models.card import METADATA_KEY, card_path, load_card, write_card
from export import build as build_module
from export.artifact import read_embedded_card, write_artifact
from export.artifact_card import make_card
from export.build import build_onnx, build_tflite
from export.cli import main
from export.errors import ExportError, ParityError
from export.graph import Precision
from export.tflite.metadata import read_metadata, with_metadata
from export.tflite.writer import pack, schema
from export.to_tflite import to_tflite
from export.verify import verify
from tests.export.conftest import int8_of
from tests.helpers import score_set

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "dynamic", "int8")


@pytest.fixture(scope="module")
def int8(checkpoint: Checkpoint) -> Checkpoint:
    return int8_of(checkpoint)


@pytest.fixture(scope="module")
def _built(int8: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    for precision in PRECISIONS:
        assert all(check.passed for check in build_tflite(int8, folder, precision=precision).checks)
    return folder


@pytest.fixture
def artifacts(_built: Path, tmp_path: Path) -> Path:
    """A folder of verified artifacts, free to be damaged."""
    return Path(shutil.copytree(_built, tmp_path / "artifacts"))


@pytest.fixture
def artifact(artifacts: Path) -> Path:
    return artifacts / "tiny_fp32.tflite"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_card_says_what_it_is(artifacts: Path, int8: Checkpoint, precision: str) -> None:
    card = load_card(artifacts / f"tiny_{precision}.tflite")
    assert (card.format, card.precision, card.layout, card.io) == (
        "tflite", precision, "NHWC", "float32",
    )  # fmt: skip
    assert card.recipe[-1] == f"export: tflite {precision}"
    assert "ai-edge-litert" in card.versions
    assert card.parameters == sum(each.numel() for each in int8.weights.values())
    # Dynamic range: the codes of a tile are not those of the whole picture.
    assert card.tiling_exact == (precision != "dynamic")
    assert card.golden is not None


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_runs_on_the_device_and_in_tiles(
    artifacts: Path, checkpoint: Checkpoint, precision: str
) -> None:
    path = artifacts / f"tiny_{precision}.tflite"
    y, x = np.mgrid[0:61, 0:75] / 9
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)
    rainy = (waves * 90 + 128).astype(np.uint8)
    whole = Derainer.load(path, tile=0, threshold=None)(rainy)
    assert whole.shape == rainy.shape
    assert (whole != rainy).any()
    if load_card(path).tiling_exact:
        assert (
            np.abs(Derainer.load(path, tile=32, threshold=None)(rainy).astype(int) - whole).max()
            <= 1
        )


def test_equal_artifacts_have_equal_bytes(artifact: Path, int8: Checkpoint, tmp_path: Path) -> None:
    again = build_tflite(int8, tmp_path / "again", precision="fp32").artifact
    assert again.read_bytes() == artifact.read_bytes()


def test_writing_leaves_the_model_as_it_is(int8: Checkpoint, tmp_path: Path) -> None:
    content = to_tflite(int8, "int8")
    card = make_card(int8, "tflite")
    first = write_artifact(content, card, tmp_path / "a.tflite")
    assert write_artifact(content, card, tmp_path / "b.tflite") == first
    assert read_metadata(content, METADATA_KEY) is None


def _tamper(artifact: Path, amount: float) -> None:
    """Move the last bias, and give the file a card that fits it again."""
    card, model = load_card(artifact), schema.ModelT.InitFromPackedBuf(artifact.read_bytes())
    (tensor,) = (each for each in model.subgraphs[0].tensors if each.name == b"exit.bias")
    bias = model.buffers[tensor.buffer].data.view(np.float32) + np.float32(amount)
    model.buffers[tensor.buffer].data = bias.view(np.uint8)
    artifact.write_bytes(pack(model))
    write_card(artifact, card)


def test_tampered_weights_are_refused(artifact: Path, checkpoint: Checkpoint) -> None:
    _tamper(artifact, 0.0)
    verify(artifact, checkpoint)
    _tamper(artifact, 1e-3)
    with pytest.raises(ParityError, match=r"differs from torch by 0\.001 at \d+x\d+ \(\w+\)"):
        verify(artifact, checkpoint)


@pytest.mark.parametrize("length", [8, 40, 400, -40_000])
def test_a_torn_file_has_no_card(artifact: Path, length: int) -> None:
    artifact.write_bytes(artifact.read_bytes()[:length])
    with pytest.raises(ExportError, match=r"tiny_fp32\.tflite: (torn|no card)"):
        read_embedded_card(artifact)


def test_a_file_without_a_card_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "bare.tflite"
    path.write_bytes(with_metadata(to_tflite(checkpoint, "fp32"), "other", "text"))
    with pytest.raises(ExportError, match=r"bare\.tflite: no card in its metadata"):
        read_embedded_card(path)


def test_int8_pictures_are_built_and_verified(int8: Checkpoint, tmp_path: Path) -> None:
    built = build_tflite(int8, tmp_path, io="int8", name="both")
    assert built.artifact == tmp_path / "both_int8.tflite"
    assert load_card(built.artifact).io == "int8"
    assert all(check.passed for check in verify(built.artifact, int8))
    rainy = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    assert Derainer.load(built.artifact)(rainy).shape == rainy.shape


@pytest.mark.parametrize(
    ("build", "precision"),
    [(build_tflite, "dynamic"), (build_tflite, "int8"), (build_onnx, "int8")],
)
def test_scores_of_small_weights_are_held_against_torch(
    int8: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Any, precision: str
) -> None:
    clean = np.full((32, 40, 3), 90, np.uint8)
    rainy = clean + np.uint8(30)

    def score(derain: object, _: object = ()) -> Scores:
        return Scores(score_set(derain, "one", [(rainy, clean)]))  # type: ignore[arg-type]

    built = build(int8, tmp_path, precision=precision, quality=score)
    scored = score(Derainer.load(built.artifact, threshold=None)).quality
    assert built.card.quality == dataclasses.replace(built.card, quality=scored).quality != ()
    assert read_embedded_card(built.artifact) == built.card.embedded()
    monkeypatch.setattr(build_module, "derainer_of", lambda _: lambda _: clean)
    with pytest.raises(ParityError, match=r"scores .* dB rgb on one, torch .* limit is 0\.05 dB"):
        build(int8, tmp_path / "other", precision=precision, quality=score)
    assert not list((tmp_path / "other").iterdir())


def test_onnx_has_no_dynamic_range(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="ONNX has no precision dynamic"):
        build_onnx(checkpoint, tmp_path / "out", precision="dynamic")
    assert list(tmp_path.iterdir()) == []


def test_the_command(int8: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, int8)
    out = tmp_path / "out"
    assert main(["tflite", str(path), "-o", str(out), "--io", "int8", "--name", "first"]) == 0
    artifact = out / "first_int8.tflite"
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith(f"{artifact}: ")
    assert main(["verify", str(artifact), "--checkpoint", str(path)]) == 0
    capsys.readouterr()

    options = ["--io", "int8", "--precision", "fp16"]
    assert main(["tflite", str(path), "-o", str(out), *options]) == 1
    assert "io int8 needs precision int8" in capsys.readouterr().err
    assert sorted(out.iterdir()) == [artifact, card_path(artifact)]
    with pytest.raises(SystemExit):
        main(["onnx", str(path), "-o", str(out), "--precision", "dynamic"])


def test_the_command_names_the_extra(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, checkpoint)
    for name in [name for name in sys.modules if name.startswith(("export.tf", "export.to_tf"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert main(["tflite", str(path), "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "derain-export: error: ai-edge-litert is not installed; run: pip install ai-edge-litert\n"
    )
    assert not (tmp_path / "out").exists()
