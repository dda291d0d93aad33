"""Everything in one go: train on the CPU, export to ONNX, derain a picture with the result."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from compress import DistillConfig, PruneConfig, QuantizeConfig, distill, prune, quantize
from compress.quantization.quantize import read_training
from core import TrainConfig, load_checkpoint, load_config, train
from core.cli import main as derain
from core.inference import derain as derain_with_torch
from core.rain.drawn import FixedRain, RainConfig
from edge_runtime import Derainer
from edge_runtime.cli import main as edge_derain
from edge_runtime.pictures.picture import Picture, read_picture, write_picture
from export import export
from export.cli import main as derain_export


def _street(height: int, width: int, seed: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + c + seed)) + np.cos(y / (4 + c)) for c in range(3)]
    return np.asarray(np.stack(waves, axis=-1) * 40 + 110, dtype=np.uint8)


def test_two_steps_of_training_reach_a_derained_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rain = FixedRain(RainConfig(density=(0.005, 0.01)), layers=2)
    Path("data").mkdir()
    for index in range(2):
        clean = _street(40, 48, index)
        pair = np.hstack([clean, rain.apply(clean, index)])
        write_picture(Path(f"data/{index}.png"), Picture(pair))
    source = {"source": {"layout": "side_by_side", "root": "."}}
    config = {
        "name": "light",
        "architecture": "student",
        "network": {"widths": [8, 16], "encoder_blocks": [1, 1], "decoder_blocks": [1]},
        "mixture": {"crop": 32, "parts": [source]},
        "validation": {"pairs": source},
        "steps": 2,
        "batch_size": 2,
        "warmup_steps": 0,
        "threads": 1,
    }
    Path("light.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert derain(["train", "--config", "light.yaml", "--data-root", "data"]) == 0

    best = "runs/light/best.safetensors"
    assert derain_export(["onnx", best, "-o", "models"]) == 0

    rainy = rain.apply(_street(37, 51, 5), 5)  # no multiple of anything
    write_picture(Path("street.png"), Picture(rainy))
    capsys.readouterr()
    command = ["street.png", "--model", "models/light_fp32.onnx", "--threads", "1", "--always"]
    assert edge_derain(command) == 0
    line = capsys.readouterr().out
    assert line.startswith("light fp32 · 51x37 · ")
    assert line.endswith(" ms · CPUExecutionProvider · street_derained.png\n")

    derained = read_picture("street_derained.png").rgb
    checkpoint = load_checkpoint(best)
    wanted = derain_with_torch(checkpoint.build(), rainy, checkpoint.config.size_multiple)
    assert np.abs(derained.astype(int) - wanted.astype(int)).max() <= 1
    assert (derained != rainy).any()


def test_a_folder_of_photographs_becomes_an_artifact_from_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(TrainConfig, Path(__file__).parents[1] / "configs/own_folder.yaml")
    monkeypatch.chdir(tmp_path)
    for folder, out in (("photos", "rain"), ("kept", "rain_kept")):
        Path(folder).mkdir()
        for index in range(2):
            write_picture(Path(f"{folder}/{index}.png"), Picture(_street(40, 48, index)))
        assert derain(["synthesize", folder, "-o", out, "--per-image", "1"]) == 0
    tiny = {"widths": [8, 16], "encoder_blocks": [1, 1], "decoder_blocks": [1]}
    short = {"steps": 2, "batch_size": 2, "warmup_steps": 0, "precision": "32-true", "threads": 1}
    mixture = dataclasses.replace(config.mixture, crop=32)
    config = dataclasses.replace(
        config, network=tiny, mixture=mixture, licence="CC0", name="own", **short
    )
    own = train(config, progress=False).folder / "best.safetensors"
    taught = DistillConfig(**{**vars(config), "name": "taught"}, teacher=str(own))
    student = distill(taught, progress=False).folder / "best.safetensors"
    pruned = prune(student, PruneConfig(target_macs=0.9, importance="l2"), progress=False)
    small = quantize(
        dataclasses.replace(pruned.checkpoint, name="mine"),
        QuantizeConfig(method="minmax", crops=64),
        read_training(pruned.checkpoint, Path("runs/own/config.yaml")),
        progress=False,
    )
    built = export(small, "artifacts", "tflite")
    assert built.card.licence == "Code Apache-2.0. Weights: CC0."
    with Derainer.load(built.artifact) as derainer:
        assert derainer(_street(37, 51, 5)).shape == (37, 51, 3)
