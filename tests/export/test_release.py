"""A release: everything listed is built, scores are kept, and what differs is named."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import yaml

from compress.against_teacher import Scores
from core.checkpoint import Checkpoint, save_checkpoint
from core.evaluation.evaluate import Derain
from edge_runtime.derainer import Derainer
from edge_runtime.models.card import LossRow, QualityRow, TeacherLoss, load_card, write_card
from export.build import build_onnx
from export.cli import main
from export.release import ReleaseConfig, ReleasedModel, build_release, check_release
from tests.conftest import Refused
from tests.export.conftest import int8_of

ROW = QualityRow(
    dataset="one", images=1, protocol="y", input_psnr=20.0, input_ssim=0.5, psnr=30.0, ssim=0.9
)
LOST = LossRow(dataset="one", protocol="y", psnr_loss_db=0.5, ssim_loss=0.01, fidelity_db=33.0)
SCORES = Scores((ROW,), TeacherLoss(name="wise", sha256="1" * 64, taught=False, rows=(LOST,)))
FORMATS: tuple[Literal["onnx"], Literal["tflite"]] = ("onnx", "tflite")


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, checkpoint)
    save_checkpoint(tmp_path / "tiny_int8.safetensors", int8_of(checkpoint))
    return path


@pytest.fixture
def config(saved: Path) -> ReleaseConfig:
    int8 = str(saved.with_name("tiny_int8.safetensors"))
    return ReleaseConfig(
        (
            ReleasedModel(str(saved), "onnx", ("fp32", "fp16")),
            ReleasedModel(int8, "onnx", ("int8",), name="tiny"),
        )
    )


@pytest.fixture
def config_file(config: ReleaseConfig, tmp_path: Path) -> Path:
    path = tmp_path / "release.yaml"
    models = [
        {**dataclasses.asdict(model), "precisions": list(model.precisions)}
        for model in config.models
    ]
    path.write_text(yaml.safe_dump({"models": models}))
    return path


def problems_of(config: ReleaseConfig, folder: Path) -> dict[str, list[str]]:
    return {name: problems for name, problems in check_release(config, folder) if problems}


def test_scores_of_the_same_weights_are_kept_and_of_others_are_not(
    checkpoint: Checkpoint, saved: Path, config: ReleaseConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    float32 = dataclasses.replace(config.models[0], precisions=("fp32",))
    config = ReleaseConfig((float32, config.models[1]))
    scored = list(build_release(config, folder, lambda *_: SCORES))
    again = list(build_release(config, folder))
    assert [built.card for built in again] == [built.card for built in scored]
    assert [(built.card.quality, built.card.teacher) for built in again] == [SCORES] * 2

    weights = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 0.01}
    save_checkpoint(saved, dataclasses.replace(checkpoint, weights=weights))
    changed = [(b.card.quality, b.card.teacher) for b in build_release(config, folder)]
    assert changed == [Scores(), SCORES]


def test_the_network_behind_two_formats_is_scored_once(saved: Path, tmp_path: Path) -> None:
    int8 = str(saved.with_name("tiny_int8.safetensors"))
    models = [ReleasedModel(int8, format, ("int8",), name="tiny") for format in FORMATS]
    models.append(ReleasedModel(str(saved), "tflite", ("dynamic",)))
    scored = []

    def quality(derain: Derain, _: Sequence[str]) -> Scores:
        scored.append(isinstance(derain, Derainer))
        return SCORES

    list(build_release(ReleaseConfig(tuple(models)), tmp_path / "out", quality))
    # Artifact and network, the artifact of the same network, then those of the float checkpoint.
    assert scored == [True, False, True, True, False]


def test_what_differs_is_named(
    checkpoint: Checkpoint, config: ReleaseConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    list(build_release(config, folder))
    weights = {**checkpoint.weights, "exit.bias": checkpoint.weights["exit.bias"] + 0.01}
    other = dataclasses.replace(checkpoint, weights=weights, recipe=("train: three steps",))
    build_onnx(other, folder, force=True)
    build_onnx(checkpoint, folder, name="more")
    card = load_card(folder / "tiny_fp16.onnx")
    write_card(folder / "tiny_fp16.onnx", dataclasses.replace(card, halo=1))
    (folder / "tiny_int8.onnx").unlink()
    found = problems_of(config, folder)
    assert list(found) == ["tiny_fp32.onnx", "tiny_fp16.onnx", "tiny_int8.onnx", "more_fp32.onnx"]
    assert "differs from torch by 0.01" in found["tiny_fp32.onnx"][0]
    assert "the card inside differs from the one beside it" in found["tiny_fp16.onnx"][0]
    assert "cannot be read" in found["tiny_int8.onnx"][0]
    assert found["more_fp32.onnx"] == ["is not listed"]


def test_the_command_builds_and_checks(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(["all", str(config_file), "-o", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"{number} of 3  {folder}/tiny_{precision}.onnx"
        for number, precision in enumerate(("fp32", "fp16", "int8"), 1)
    ]
    assert main(["all", str(config_file), "-o", str(folder), "--check"]) == 0
    assert capsys.readouterr().out.count(": same\n") == 3
    before = (folder / "tiny_fp32.onnx").read_bytes()
    (folder / "tiny_fp32.onnx").write_bytes(before[:-1])
    assert main(["all", str(config_file), "-o", str(folder), "--check"]) == 1
    captured = capsys.readouterr()
    assert "tiny_fp32.onnx: " in captured.out
    assert captured.err.startswith(f"derain-export: error: {folder}: 1 differ from ")
    assert (folder / "tiny_fp32.onnx").read_bytes() == before[:-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: []", "models are none"),
        ("models: [{checkpoint: small, format: onxx, precisions: [fp32]}]", "onxx"),
        ("models: [{checkpoint: small, format: onnx, precisions: [fp8]}]", "fp8"),
        ("models: [{checkpoint: small, format: onnx, precisions: []}]", "are none"),
        (
            "models: [{checkpoint: small, format: tflite, precisions: [fp32], step: true}]",
            "--step is for gan_lstm with recurrent: true",
        ),
        ("models: [{checkpiont: small, format: onnx, precisions: [fp32]}]", "checkpoint"),
        ("models: [{checkpoint: smal, format: onnx, precisions: [fp32]}]", "'smal': unknown"),
    ],
)
def test_a_wrong_config_is_one_line(
    text: str, message: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "release.yaml").write_text(text)
    command = ["all", str(tmp_path / "release.yaml"), "-o", str(tmp_path / "out")]
    assert refused(main, command, message) != 0
