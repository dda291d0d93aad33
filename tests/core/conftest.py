"""Small data sets and training configs that the tests of the training side share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge_runtime.pictures.picture import Picture, write_picture

Image = NDArray[np.uint8]
torch.set_num_threads(1)
threadpool_limits(1)  # tests run beside each other


def smooth(height: int, width: int, seed: int = 0) -> Image:
    """Return a picture with soft, coloured shapes, uint8 HWC RGB."""
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@pytest.fixture
def picture() -> Callable[..., Image]:
    return smooth


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def write_data(root: Path) -> Path:
    """Write three side-by-side pairs and two dry pictures; the rainy half is 40 levels brighter."""
    (root / "pairs").mkdir(parents=True)
    (root / "dry").mkdir()
    for index in range(3):
        clean = smooth(24, 32, index) // 2
        write_picture(root / f"pairs/{index}.png", Picture(np.hstack([clean, clean + 40])))
    for index in range(2):
        write_picture(root / f"dry/{index}.png", Picture(smooth(30, 26, 10 + index)))
    rows = ["path,split", *(f"pairs/{i}.png,{'val' if i == 2 else 'train'}" for i in range(3))]
    (root / "scenes.csv").write_text("\n".join(rows), encoding="utf-8")
    return root


@pytest.fixture
def train_values(tmp_path: Path, data_root: Path) -> dict[str, Any]:
    return short_run(data_root, tmp_path / "runs")


def short_run(data_root: Path, out: Path) -> dict[str, Any]:
    """Return a training run of four steps on one thread, as plain values."""
    pairs = {"layout": "side_by_side", "root": "pairs", "scenes": "scenes.csv"}
    dry = {"layout": "clean", "root": "dry"}
    return {
        "name": "tiny",
        "architecture": "student",
        "network": {"widths": [8, 8], "encoder_blocks": [1, 1], "decoder_blocks": [1]},
        "mixture": {
            "crop": 16,
            "parts": {
                "as_is": {"source": {**pairs, "split": "train"}, "weight": 2.0},
                "drawn": {"source": dry, "rain": "generated"},
                "dry": {"source": dry, "rain": "none"},
            },
            "generated": {"pool": 3},
        },
        "validation": {
            "pairs": {"source": {**pairs, "split": "val"}},
            "light": {"source": dry, "rain": {"seed": 1}},
        },
        "data_root": str(data_root),
        "out": str(out),
        "steps": 4,
        "batch_size": 2,
        "warmup_steps": 0,
        "validate_every": 2,
        "save_every": 2,
        "log_every": 1,
        "threads": 1,
    }


def on_pairs_alone(values: dict[str, Any]) -> dict[str, Any]:
    """Leave one part and one validation set: the less there is to read, the sooner it is read."""
    mixture = {"crop": 16, "parts": {"as_is": values["mixture"]["parts"]["as_is"]}}
    return {
        **values,
        "mixture": mixture,
        "validation": {"pairs": values["validation"]["pairs"]},
    }
