import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from core import checkpoint as checkpoint_module
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.errors import CheckpointError
from core.networks.student import StudentConfig, StudentNet
from core.quantization import Placement, Quantization, TensorScale

CONFIG = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    net = StudentNet(CONFIG)
    torch.nn.init.normal_(net.exit.weight)
    recipe, data = ("train: a", "prune: b"), ("Rain800",)
    return Checkpoint(
        "tiny", "student", "student", CONFIG, net.state_dict(), recipe, data, {"torch": "2"}
    )


def test_round_trip_rebuilds_the_model(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "new/folder/a.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    for field in dataclasses.fields(Checkpoint):
        if field.name != "weights":
            assert getattr(loaded, field.name) == getattr(checkpoint, field.name)
    module = loaded.build()
    assert not module.training
    rainy = torch.rand(1, 3, 8, 8)
    assert torch.equal(module(rainy), checkpoint.build()(rainy))
    assert not torch.equal(module(rainy), rainy)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_equal_checkpoints_are_equal_files(tmp_path: Path, checkpoint: Checkpoint) -> None:
    weights = {key: checkpoint.weights[key] for key in reversed(list(checkpoint.weights))}
    save_checkpoint(tmp_path / "a", checkpoint)
    save_checkpoint(tmp_path / "b", dataclasses.replace(checkpoint, weights=weights))
    assert _sha256(tmp_path / "a") == _sha256(tmp_path / "b")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_torn_files(tmp_path: Path, checkpoint: Checkpoint, share: float) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"a\.safetensors: torn, or not a safetensors file"):
        load_checkpoint(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none: cannot be read"):
        load_checkpoint(tmp_path / "none")
    with pytest.raises(CheckpointError, match="is a folder without best"):
        load_checkpoint(tmp_path)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weights": _Bomb(tmp_path / "boom")}, buffer)
    (tmp_path / "a.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "a.safetensors")
    assert not (tmp_path / "boom").exists()


def _header(**changes: object) -> dict[str, object]:
    header = {"schema": 1, "name": "a", "role": "student", "architecture": "student"}
    header |= {"config": {"widths": [8], "encoder_blocks": [1], "decoder_blocks": []}}
    return header | {"recipe": [], "data": [], "versions": {}} | changes


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "without the header of an edge-derain checkpoint"),
        ([1], "without the header"),
        (3, "without the header"),
        (_header(extra=1), "without the header"),
        (_header(config=5), "network: must be a mapping, got 5"),
        (_header(schema=2), "made by a newer edge-derain; upgrade"),
        (
            _header(architecture="studnet"),
            "architecture 'studnet': unknown; did you mean 'student'",
        ),
        (_header(config={"width": [8]}), r"network\.width: unknown key; did you mean 'widths'"),
    ],
)
def test_foreign_headers(tmp_path: Path, header: object, message: str) -> None:
    metadata = None if header is None else {"edge_derain.checkpoint": json.dumps(header)}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert "a.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry.bias": None}, "weight 'entry.bias' is missing from the checkpoint"),
        ({"entry.scale": torch.zeros(1)}, "weight 'entry.scale' is unknown in the checkpoint"),
        (
            {"entry.bias": torch.zeros(9)},
            r"weight 'entry.bias' is \[9\], but its config needs \[8\]",
        ),
    ],
)
def test_weights_that_do_not_fit(
    checkpoint: Checkpoint, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    merged = {**checkpoint.weights, **changes}
    weights = {key: value for key, value in merged.items() if value is not None}
    with pytest.raises(CheckpointError, match=f"tiny: {message}"):
        dataclasses.replace(checkpoint, weights=weights).build()


def test_unwritable_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "file/a.safetensors", checkpoint)


def test_shipped_checkpoints_are_found_by_name(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SHIPPED", tmp_path)
    with pytest.raises(CheckpointError, match=r"'tiny': unknown; none ship in .*, or give a path"):
        load_checkpoint("tiny")
    save_checkpoint(tmp_path / "tiny.safetensors", checkpoint)
    assert load_checkpoint("tiny").weights.keys() == checkpoint.weights.keys()
    with pytest.raises(CheckpointError, match="'tyni': unknown; did you mean 'tiny'"):
        load_checkpoint("tyni")
    for path in ("./tiny", "tiny.safetensors", Path("tiny")):
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_checkpoint(path)


def test_the_folder_of_a_run_stands_for_its_best(
    tmp_path: Path,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint("runs/x/best.safetensors", checkpoint)
    (tmp_path / "runs/y").mkdir()
    for name in ("runs/x", Path("runs/x"), "runs/x/"):
        assert load_checkpoint(name).name == checkpoint.name
    assert caplog.messages == ["runs/x: taking best.safetensors in it"]
    with pytest.raises(CheckpointError, match="runs/y: is a folder without best"):
        load_checkpoint("runs/y")


def _int8(checkpoint: Checkpoint) -> Checkpoint:
    placement = Placement(checkpoint.build())
    quantization = Quantization(
        "int8",
        {name: TensorScale(1 / 32, -3) for name in placement.stored.values()},
        {name: (1 / 100,) * each.out_channels for name, each in placement.layers.items()},
    )
    return dataclasses.replace(checkpoint, quantization=quantization)


def test_a_quantized_checkpoint_rebuilds_its_arithmetic(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    quantized = _int8(checkpoint)
    save_checkpoint(tmp_path / "a", quantized)
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.quantization == quantized.quantization
    assert (checkpoint.precision, loaded.precision) == ("fp32", "int8")
    rainy = torch.rand(1, 3, 8, 8)
    assert torch.equal(loaded.build()(rainy), quantized.build()(rainy))
    assert not torch.equal(loaded.build()(rainy), checkpoint.build()(rainy))
    assert torch.equal(loaded.unquantized().build()(rainy), checkpoint.build()(rainy))


def test_half_precision_is_recorded(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(
        tmp_path / "a", dataclasses.replace(checkpoint, quantization=Quantization("fp16"))
    )
    loaded = load_checkpoint(tmp_path / "a")
    assert loaded.precision == "fp16"
    assert next(loaded.build().parameters()).dtype == torch.float16


def test_a_float_checkpoint_says_nothing_of_quantization(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    save_checkpoint(tmp_path / "a", checkpoint)
    assert b"quantization" not in (tmp_path / "a").read_bytes()


@pytest.mark.parametrize(
    "quantization",
    [
        {"scheme": "int4", "activations": {}, "weights": {}, "float_layers": []},
        {"scheme": "int8", "activations": {"a": {"scale": 0, "zero_point": 0}}},
    ],
)
def test_broken_quantization_names_the_file(tmp_path: Path, quantization: object) -> None:
    path = tmp_path / "a.safetensors"
    metadata = {"edge_derain.checkpoint": json.dumps(_header(quantization=quantization))}
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match=r"a\.safetensors") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
