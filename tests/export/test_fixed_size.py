"""Static graphs: one size in the file, any size on the device."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from core.checkpoint import Checkpoint
from edge_runtime.derainer import Derainer
from edge_runtime.engines.base import Batch
from edge_runtime.engines.litert import find_engine
from edge_runtime.errors import SessionError
from export.build import Built, build_onnx, build_tflite
from export.cli import main
from export.errors import ExportError
from export.graph import ExportGraph


@pytest.fixture(scope="module", params=[build_onnx, build_tflite])
def built(
    request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    done: Built = request.param(checkpoint, tmp_path_factory.mktemp("static"), size=(64, 80))
    return done


def test_the_graph_has_one_size_and_is_verified(built: Built) -> None:
    assert built.artifact.stem == "tiny_64x80_fp32"
    assert all(check.passed for check in built.checks)
    assert {(check.height, check.width) for check in built.checks} == {(64, 80), (76, 84)}
    if built.artifact.suffix == ".onnx":
        graph = onnx.load(built.artifact).graph
        for tensor in (*graph.input, *graph.output):
            sizes = [size.dim_value for size in tensor.type.tensor_type.shape.dim]
            assert sizes == [1, 3, 64, 80]
    else:
        interpreter, _ = find_engine()
        engine = interpreter(str(built.artifact))
        for details in (*engine.get_input_details(), *engine.get_output_details()):
            assert details["shape_signature"].tolist() == [1, 64, 80, 3]
    assert built.card.golden is not None
    assert (built.card.golden.height, built.card.golden.width) == (64, 80)


@pytest.mark.parametrize(("height", "width"), [(64, 80), (68, 80), (128, 200), (200, 84)])
def test_pictures_that_are_larger_give_the_whole_result(
    checkpoint: Checkpoint, built: Built, height: int, width: int
) -> None:
    rainy = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = ExportGraph(checkpoint.build())(rainy).numpy()
    derainer = Derainer.load(built.artifact, threshold=None)
    for picture, exact in zip(rainy.numpy(), wanted, strict=True):
        found = derainer(np.ascontiguousarray(picture.transpose(1, 2, 0)))
        assert np.abs(found.transpose(2, 0, 1) - exact).max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (30, 200), (63, 79), (150, 20)])
def test_any_picture_is_taken(built: Built, height: int, width: int) -> None:
    rainy = np.full((height, width, 3), 128, np.uint8)
    assert Derainer.load(built.artifact)(rainy).shape == rainy.shape


def test_small_pictures_are_extended_and_cropped_again(built: Built) -> None:
    seen: list[Batch] = []

    class Doubling:
        name, provider, fixed_size = "numpy", "test", (16, 24)

        def run(self, batch: Batch) -> Batch:
            seen.append(batch)
            return batch * 2

    card = dataclasses.replace(built.card, halo=0)
    derainer = Derainer(Doubling(), card, Path("a.onnx"))
    small = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3) // 2
    assert np.array_equal(derainer(small), small * 2)
    assert [batch.shape for batch in seen] == [(1, 3, 16, 24)]
    assert np.array_equal(seen[0][0, :, -1, -1], small[-1, -1] / np.float32(255))


def test_a_size_that_the_halo_eats_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"takes 16x64 pixels only, which its halo of \d+"):
        build_onnx(checkpoint, tmp_path, size=(16, 64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "legal"), [((66, 80), "68x80"), ((64, 81), "64x84"), ((0, 80), "4x80")]
)
def test_a_size_that_the_multiple_forbids_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, size: tuple[int, int], legal: str
) -> None:
    wanted = f"size {size[0]}x{size[1]}: tiny needs .* multiples of 4; take {legal}"
    with pytest.raises(ExportError, match=wanted):
        build_onnx(checkpoint, tmp_path / "out", size=size)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "64"], "must be HEIGHTxWIDTH"),
        (["--size", "64x64", "--step"], "--step takes any size"),
    ],
)
def test_the_options_are_checked(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(["onnx", "small", "-o", "out", *options])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert message in capsys.readouterr().err
