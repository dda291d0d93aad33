"""Small ONNX models with cards, and pictures, that the tests of the runtime share."""

import ctypes
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_runtime.models.card import METADATA_KEY, ModelCard, QualityRow, write_card

SaveModel = Callable[..., Path]


def _nodes(gain: float, multiple: int) -> list[onnx.NodeProto]:
    # Folding space into depth and back changes nothing but fails on any size that is not a
    # multiple, so a missing or wrong padding cannot pass unseen.
    return [
        helper.make_node("SpaceToDepth", ["rainy"], ["folded"], blocksize=multiple),
        helper.make_node("DepthToSpace", ["folded"], ["unfolded"], blocksize=multiple),
        helper.make_node("Constant", [], ["gain"], value_float=gain),
        helper.make_node("Mul", ["unfolded", "gain"], ["scaled"]),
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Constant", [], ["high"], value_float=1.0),
        helper.make_node("Clip", ["scaled", "low", "high"], ["derained"]),
    ]


def _model(gain: float, multiple: int) -> onnx.ModelProto:
    shape = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        _nodes(gain, multiple),
        "scale",
        [helper.make_tensor_value_info("rainy", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("derained", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(autouse=True)
def nothing_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what ``--tune`` remembered on this machine out of the tests, and the other way round."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def rain_everywhere(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Let the gate take all that models remove for rain; returns what weighs the measurements."""
    weights = tmp_path_factory.mktemp("gate") / "rain_score.json"
    zeros, ones = [0.0] * 101, [1.0] * 101
    stored = {"mean": zeros, "scale": ones, "hidden": [[0.0]] * 101, "bias": [0.0], "out": [0.0]}
    weights.write_text(json.dumps({**stored, "offset": 9.0}))
    monkeypatch.setattr("edge_runtime.gate.WEIGHTS", weights)
    return weights


@pytest.fixture
def closed() -> Iterator[Callable[[Path], None]]:
    """Return a function that forbids to list a folder, and to pass through it, root as well."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of capset(2), this thread
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    shut: list[Path] = []

    def close(folder: Path) -> None:
        folder.chmod(0)
        shut.append(folder)

    for values in (before, without):
        libc.capget(header, values)
    without[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    libc.capset(header, without)
    yield close
    libc.capset(header, before)
    for folder in shut:
        folder.chmod(0o700)


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        name="echo",
        role="student",
        architecture="Echo",
        config={"channels": [16, 32], "gain": 1.0},
        format="onnx",
        precision="fp32",
        layout="NCHW",
        size_multiple=8,
        halo=0,
        tiling_exact=True,
        parameters=0,
        macs_per_pixel=7100.5,
        quality=(
            QualityRow(
                dataset="rain800-val",
                images=61,
                protocol="rgb",
                input_psnr=21.8,
                input_ssim=0.7,
                psnr=26.1,
                ssim=0.85,
            ),
        ),
        recipe=("train",),
        data=("rain800",),
        versions={"onnx": onnx.__version__},
        licence="test only",
    )


@pytest.fixture
def save_model(tmp_path: Path, card: ModelCard) -> SaveModel:
    """Return a function that saves a model that multiplies its input by ``gain``, with a card."""

    def save(
        stem: str = "echo_fp32", *, folder: Path = tmp_path, gain: float = 1.0, **changes: object
    ) -> Path:
        values = {**vars(card), **changes}
        final = ModelCard(**values)
        model = _model(gain, final.size_multiple)
        helper.set_model_props(model, {METADATA_KEY: final.to_metadata()})
        path = folder / f"{stem}.onnx"
        path.write_bytes(model.SerializeToString())
        write_card(path, final)
        return path

    return save


@pytest.fixture
def noise() -> Callable[..., NDArray[np.generic]]:
    """Return a function that makes a repeatable random array of a shape and integer dtype."""

    def make(*shape: int, dtype: type = np.uint8, seed: int = 0) -> NDArray[np.generic]:
        generator = np.random.default_rng(seed)
        return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)

    return make


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, which holds neither the models nor the pictures of others."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def model(save_model: Callable[..., Path]) -> str:
    """Path of a model that halves the brightness."""
    return str(save_model(gain=0.5))
