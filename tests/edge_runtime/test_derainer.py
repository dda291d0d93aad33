import os
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import Derainer
from edge_runtime.derainer import open_session
from edge_runtime.engines.onnx_runtime import OnnxSession
from edge_runtime.errors import CardError, ImageError, MissingExtraError, SessionError
from edge_runtime.machine import physical_cores
from edge_runtime.metrics import psnr
from edge_runtime.models.card import ModelCard, load_card
from edge_runtime.models.catalog import find_model
from edge_runtime.pictures.picture import read_picture
from edge_runtime.steady import Steadier

Noise = Callable[..., NDArray[Any]]
SaveModel = Callable[..., Path]


class _Recorder:
    """A session that keeps its input and adds a constant to each channel."""

    name = "recorder"
    provider = "test"

    def __init__(self, *add: float) -> None:
        self.add = np.array(add, np.float32).reshape(1, 3, 1, 1)
        self.batches: list[NDArray[np.float32]] = []

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.batches.append(batch)
        return batch + self.add


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (7, 15), (33, 17)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_an_identity_model_changes_no_value(
    save_model: SaveModel,
    noise: Noise,
    size: tuple[int, int],
    dtype: type,
    channels: tuple[int, ...],
) -> None:
    image = noise(*size, *channels, dtype=dtype)
    before = image.copy()
    derained = Derainer.load(save_model(), threads=1)(image)
    np.testing.assert_array_equal(derained, image)
    np.testing.assert_array_equal(image, before)
    assert derained.dtype == dtype
    assert derained.flags["C_CONTIGUOUS"]
    assert not np.shares_memory(derained, image)


def test_every_level_survives(save_model: SaveModel) -> None:
    derainer = Derainer.load(save_model(), threads=1)
    for dtype in (np.uint8, np.uint16):
        ramp = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
        np.testing.assert_array_equal(derainer(ramp), ramp)


def test_halves_are_rounded_up(save_model: SaveModel) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    derained = Derainer.load(save_model(gain=0.5), threads=1)(image)
    np.testing.assert_array_equal(derained, (image + 1) // 2)


def test_floats_stay_floats(save_model: SaveModel) -> None:
    image = np.random.default_rng(0).random((5, 6, 3), np.float32)
    derained = Derainer.load(save_model(gain=0.5), threads=1)(image)
    assert derained.dtype == np.float32
    np.testing.assert_allclose(derained, image / 2, atol=1e-7)


def test_the_border_is_repeated_at_the_bottom_and_right(card: ModelCard, noise: Noise) -> None:
    session, image = _Recorder(0, 0, 0), noise(5, 9, 3)
    Derainer(session, card, Path("m.onnx"))(image)
    expected = np.pad(image, ((0, 3), (0, 7), (0, 0)), mode="edge").transpose(2, 0, 1)[None]
    np.testing.assert_allclose(session.batches[0], expected / 255, atol=1e-7)
    assert session.batches[0].dtype == np.float32
    assert session.batches[0].flags["C_CONTIGUOUS"]


def test_stray_values_are_clipped(card: ModelCard) -> None:
    image = np.full((2, 2, 3), 128, np.uint8)
    derained = Derainer(_Recorder(2, -2, 0.1), card, Path("m.onnx"))(image)
    assert derained[0, 0].tolist() == [255, 0, 154]


def test_grey_is_the_mean_of_the_channels(card: ModelCard) -> None:
    image = np.full((2, 2), 100, np.uint8)
    derained = Derainer(_Recorder(0.3, 0, 0), card, Path("m.onnx"))(image)
    assert derained.tolist() == [[126, 126]] * 2  # 100 + 0.1 * 255 = 125.5


def test_views_and_the_card(save_model: SaveModel, noise: Noise) -> None:
    path = save_model()
    derainer = Derainer.load(path, threads=1)
    image = noise(20, 20, 3)[::2, ::-1, ::-1]
    np.testing.assert_array_equal(derainer(image), image)
    assert derainer.model_path == path
    assert derainer.card.name == "echo"


def test_frames_come_in_turn_and_none_is_read_ahead(save_model: SaveModel, noise: Noise) -> None:
    derainer = Derainer.load(save_model(gain=0.5), threads=1)
    frames = [noise(9, 12, 3, seed=seed) for seed in range(4)]
    taken = []

    def source() -> Iterator[NDArray[Any]]:
        for frame in frames:
            taken.append(frame)
            yield frame

    derained = derainer.frames(source())
    for count, frame in enumerate(frames, start=1):
        np.testing.assert_array_equal(next(derained), derainer(frame))
        assert len(taken) == count
    assert list(derained) == []


def test_steady_frames_are_derained_then_steadied(save_model: SaveModel, noise: Noise) -> None:
    derainer = Derainer.load(save_model(gain=0.5), threads=1)
    still = noise(40, 40, 3)
    frames = [np.clip(still.astype(int) + step, 0, 255).astype(np.uint8) for step in (0, 1, 0, 1)]
    steadier = Steadier()
    expected = [steadier(derainer(frame)) for frame in frames]
    np.testing.assert_array_equal(list(derainer.frames(frames, steady=True)), expected)
    assert not np.array_equal(list(derainer.frames(frames)), expected)


def test_threads_share_one_derainer(save_model: SaveModel, noise: Noise) -> None:
    derainer = Derainer.load(save_model(gain=0.5), threads=1, tile=16)
    images = [noise(33 + seed, 47 - seed, 3, seed=seed) for seed in range(40)]
    expected = [derainer(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for found, wanted in zip(pool.map(derainer, images), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_one_that_differs_in_its_session(save_model: SaveModel, noise: Noise) -> None:
    derainer = Derainer.load(save_model(gain=0.5), threads=1, tile=16)
    image, session = noise(33, 40, 3), _Recorder(0, 0, 0)
    other = derainer.with_session(session, 300)
    np.testing.assert_array_equal(other(image), image)
    assert len(session.batches) == 9
    assert (other.tile, other.window_pixels, derainer.window_pixels) == (16, 300, None)
    np.testing.assert_array_equal(derainer(image), (image.astype(int) + 1) // 2)


def test_the_buffer_is_used_again(card: ModelCard, noise: Noise) -> None:
    session = _Recorder(0, 0, 0)
    derainer = Derainer(session, card, Path("m.onnx"))
    for size in ((16, 16), (8, 8), (16, 8)):
        derainer(noise(*size, 3))
    assert all(np.shares_memory(session.batches[0], batch) for batch in session.batches[1:])


def test_a_closed_derainer_says_so(save_model: SaveModel, noise: Noise) -> None:
    path = save_model()
    with Derainer.load(path, threads=1) as derainer:
        derainer(noise(8, 8, 3))
        engine = weakref.ref(derainer.session)
    assert engine() is None
    derainer.close()
    assert derainer.session.provider == "CPUExecutionProvider"
    with pytest.raises(SessionError, match=r"echo_fp32\.onnx: was closed; load it again"):
        derainer(noise(8, 8, 3))


def test_a_damaged_model_is_not_opened(save_model: SaveModel) -> None:
    path = save_model()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CardError, match="bytes but its card says"):
        Derainer.load(path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"got shape \(4, 4, 4\); strip alpha"),
        (np.zeros((3, 8, 9), np.uint8), r"got shape \(3, 8, 9\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"got shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got shape \(0, 4, 3\)"),
        (np.zeros(3, np.uint8), r"got shape \(3,\)"),
        (np.zeros((4, 4, 3), np.float64), "got float64"),
        (np.zeros((4, 4, 3), bool), "got bool"),
        ([[1]], "got list"),
        (np.full((4, 4, 3), 255, np.float32), r"\[0, 1\], got 255 to 255"),
        (np.full((4, 4, 3), np.nan, np.float32), "got nan"),
    ],
)
def test_clear_errors(card: ModelCard, image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Derainer(_Recorder(0, 0, 0), card, Path("m.onnx"))(image)


def test_an_ensemble_is_the_mean_of_both_views() -> None:
    # No rows or columns are added, which the two views would have on different sides.
    rainy = np.random.default_rng(0).random((64, 80, 3), np.float32)
    alone = Derainer.load("nano_fp32", threads=1)
    both = Derainer.load("nano_fp32", threads=1, ensemble=True)
    wanted = (alone(rainy) + alone(rainy[:, ::-1].copy())[:, ::-1]) / 2
    np.testing.assert_allclose(both(rainy), wanted, atol=1e-6)
    assert not np.allclose(both(rainy), alone(rainy), atol=1e-4)


def test_an_ensemble_in_tiles_is_that_of_the_whole() -> None:
    rainy = np.random.default_rng(0).random((200, 333, 3), np.float32)
    whole = Derainer.load("nano_fp32", threads=1, tile=0, ensemble=True)(rainy)
    tiled = Derainer.load("nano_fp32", threads=1, tile=32, ensemble=True)(rainy)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


EXAMPLE = Path(__file__).parents[2] / "examples" / "temple.jpg"


def _save(path: Path, node: onnx.NodeProto, *weights: onnx.TensorProto, **options: object) -> Path:
    shape = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, **options)
    return path


def test_runs_and_names_itself(save_model: SaveModel) -> None:
    path = save_model(gain=0.5)
    session = open_session(path, load_card(path), threads=1)
    batch = np.random.default_rng(0).random((1, 3, 8, 16), np.float32)
    np.testing.assert_array_equal(session.run(batch), batch * np.float32(0.5))
    assert session.provider == "CPUExecutionProvider"
    assert session.name.startswith("onnxruntime ")


@pytest.mark.parametrize("name", ["nano_int8", "small_int8", "base_int8"])
def test_int8_is_right_on_whatever_processor_this_is(name: str) -> None:
    artifact = find_model(name)
    unfused = onnxruntime.SessionOptions()
    unfused.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    engine = onnxruntime.InferenceSession(str(artifact), unfused, ["CPUExecutionProvider"])
    rainy = read_picture(EXAMPLE).rgb[100:196, 100:228]
    batch = np.float32(rainy.transpose(2, 0, 1)[None]) / np.float32(255)
    [wanted] = engine.run(None, {engine.get_inputs()[0].name: batch})
    derained = OnnxSession(artifact, 1).run(batch)
    assert psnr(_bytes(derained), _bytes(wanted)) > 45  # 20 to 30 where kernels saturate


def _bytes(batch: np.ndarray) -> np.ndarray:
    return np.rint(batch[0].transpose(1, 2, 0) * 255).astype(np.uint8)


def test_a_failing_run_is_one_line(save_model: SaveModel) -> None:
    session = OnnxSession(save_model(), 1)
    with pytest.raises(SessionError, match=r"failed on shape \(1, 3, 7, 8\)") as caught:
        session.run(np.zeros((1, 3, 7, 8), np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"junk" * 9])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(SessionError, match=r"a\.onnx: ONNX Runtime cannot open it"):
        OnnxSession(path)
    with pytest.raises(SessionError, match="cannot be read"):
        OnnxSession(tmp_path / "missing.onnx")


def test_external_data_is_refused_even_where_it_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    path = _save(
        tmp_path / "a.onnx",
        node,
        weight,
        save_as_external_data=True,
        location="a.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SessionError, match="keeps weights in other files"):
        OnnxSession(path)


def test_a_result_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.onnx", helper.make_node("Transpose", ["x"], ["y"]))
    session = OnnxSession(path, 1)
    with pytest.raises(SessionError, match=r"returned float32 \(4, 2, 3, 1\)"):
        session.run(np.zeros((1, 3, 2, 4), np.float32))


def test_one_input_and_one_output(tmp_path: Path) -> None:
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "abc"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "g", info[:2], info[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(SessionError, match="2 inputs and 1 outputs"):
        OnnxSession(tmp_path / "a.onnx")


def test_other_formats_have_no_engine(tmp_path: Path, card: ModelCard) -> None:
    values = {**vars(card), "format": "safetensors"}
    with pytest.raises(SessionError, match="no engine here reads 'safetensors'"):
        open_session(tmp_path / "a.safetensors", ModelCard(**values))


def test_a_missing_engine_answers_with_the_pip_line(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="pip install onnxruntime"):
        OnnxSession(save_model())


def test_physical_cores() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)
