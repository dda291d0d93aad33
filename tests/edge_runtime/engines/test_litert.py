"""LiteRT: sizes, types, threads, fallbacks, and one line for whatever is wrong."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from core.quantization import TensorScale
from edge_runtime.derainer import open_session
from edge_runtime.engines.base import Session
from edge_runtime.engines.litert import TfliteSession
from edge_runtime.errors import MissingExtraError, SessionError
from edge_runtime.models.card import ModelCard
from export.tflite.ops import Emitter
from export.tflite.writer import Tensor, TfliteWriter

GAINS = (0.25, 0.5, 1.0)
"""Of the three channels: a swap of axes shows."""
Graph = Callable[[TfliteWriter, Tensor], Tensor]


def _gain(writer: TfliteWriter, x: Tensor) -> Tensor:
    # Folding and unfolding changes nothing, but fails on sizes that are no multiple of 2.
    emitter = Emitter(writer, "gain")
    x = emitter.depth_to_space(emitter.space_to_depth(x, 2), 2)
    return emitter.mul(x, emitter.constant(GAINS, np.float32))


def _save(path: Path, graph: Graph = _gain, stored: TensorScale | None = None) -> Path:
    writer = TfliteWriter()
    rainy = writer.input("rainy", (1, 2, 2, 3), stored)
    real = rainy if stored is None else Emitter(writer, "real").dequantize(rainy)
    derained = graph(writer, real)
    if stored is not None:
        derained = Emitter(writer, "codes").quantize(derained, stored)
    path.write_bytes(writer.finish({"derained": derained}, "test"))
    return path


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return _save(tmp_path / "a.tflite")


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def _expected(batch: np.ndarray) -> np.ndarray:
    return batch * np.array(GAINS, np.float32)[:, None, None]


def test_one_session_takes_sizes_in_any_order(artifact: Path, card: ModelCard) -> None:
    tflite = ModelCard(**{**vars(card), "format": "tflite", "layout": "NHWC"})
    session = open_session(artifact, tflite, threads=1)
    for shape in ((1, 3, 8, 6), (2, 3, 4, 10), (1, 3, 2, 2), (1, 3, 8, 6), (1, 3, 8, 6)):
        batch = _noise(*shape)
        result = session.run(batch)
        np.testing.assert_array_equal(result, _expected(batch))
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
    assert session.name.startswith("ai-edge-litert ")
    assert session.provider == "XNNPACK"


def test_a_result_is_not_written_over_by_the_next(artifact: Path) -> None:
    session = TfliteSession(artifact, 1)
    batches = [_noise(1, 3, 4, 4, seed=seed) for seed in range(2)]
    results = [session.run(batch) for batch in batches]
    for batch, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result, _expected(batch))


def _use(monkeypatch: pytest.MonkeyPatch, engine: type[Interpreter]) -> None:
    monkeypatch.setattr("edge_runtime.engines.litert.find_engine", lambda: (engine, "test"))


def test_a_size_is_laid_out_once(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counted(Interpreter):
        def resize_tensor_input(self, index: int, size: list[int]) -> None:
            sizes.append(size)
            super().resize_tensor_input(index, size)

    _use(monkeypatch, Counted)
    session = TfliteSession(artifact, 1)
    for shape in ((1, 3, 4, 4), (1, 3, 4, 4), (1, 3, 4, 6), (1, 3, 4, 6)):
        session.run(_noise(*shape))
    assert sizes == [[1, 4, 4, 3], [1, 4, 6, 3]]


def test_a_failing_run_is_one_line_and_spoils_nothing(
    artifact: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = TfliteSession(artifact, 1)
    batch = _noise(1, 3, 4, 4)
    session.run(batch)
    with pytest.raises(SessionError, match=r"failed on shape \(1, 3, 3, 4\)") as caught:
        session.run(_noise(1, 3, 3, 4))
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(session.run(batch), _expected(batch))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"junk" * 99])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(content)
    with pytest.raises(SessionError, match=r"a\.tflite: LiteRT cannot open it"):
        TfliteSession(path)
    with pytest.raises(SessionError, match="cannot be read"):
        TfliteSession(tmp_path / "missing.tflite")


def test_one_input_and_one_output(tmp_path: Path) -> None:
    writer = TfliteWriter()
    first, second = (writer.input(name, (1, 2, 2, 3)) for name in "ab")
    total = Emitter(writer, "sum").add(first, second)
    path = tmp_path / "a.tflite"
    path.write_bytes(writer.finish({"sum": total}, "test"))
    with pytest.raises(SessionError, match="2 inputs and 1 outputs, needed are 1 and 1"):
        TfliteSession(path)


def test_a_result_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.tflite", lambda writer, x: Emitter(writer, "m").space_to_depth(x, 2))
    with pytest.raises(SessionError, match=r"returned float32 \(1, 12, 2, 3\)"):
        TfliteSession(path, 1).run(_noise(1, 3, 4, 6))


def test_an_input_of_other_dimensions_is_refused(tmp_path: Path) -> None:
    writer = TfliteWriter()
    x = writer.input("rainy", (4, 3))
    path = tmp_path / "a.tflite"
    path.write_bytes(writer.finish({"derained": Emitter(writer, "y").tanh(x)}, "test"))
    with pytest.raises(SessionError, match=r"'rainy' is float32 \[4, 3\].*export it with"):
        TfliteSession(path, 1)


def test_int8_pictures_are_levels(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    session = TfliteSession(_save(path, stored=TensorScale(1 / 255, -128)), 1)
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    derained = session.run(levels)
    assert derained.dtype == np.uint8
    # The engine rounds halves its own way.
    assert np.abs(derained - levels * np.array(GAINS)).max() <= 0.5
    np.testing.assert_array_equal(derained[..., 2], levels[..., 2])
    finer = np.float32(0.3)  # of a level: it is not lost
    result = session.run((levels.transpose(0, 3, 1, 2) + finer) / np.float32(255))
    assert result.dtype == np.float32
    wanted = np.minimum(derained.transpose(0, 3, 1, 2) + finer, 255)
    np.testing.assert_allclose(result * 255, wanted, atol=1e-3)

    with pytest.raises(SessionError, match=r"'rainy' is int8 .* float32 or levels as int8"):
        TfliteSession(_save(path, stored=TensorScale(1 / 255, -100)), 1)


def test_threads_take_turns(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, overlaps = threading.Lock(), []

    class Alone(Interpreter):
        def invoke(self) -> None:
            free = busy.acquire(blocking=False)
            overlaps.append(not free)
            time.sleep(0.01)  # the others come
            super().invoke()
            if free:
                busy.release()

    _use(monkeypatch, Alone)
    session = TfliteSession(artifact, 1)
    batches = [_noise(1, 3, 2 * (seed % 3 + 1), 16, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(session.run, batches))
    assert overlaps == [False] * 8
    for batch, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result, _expected(batch))


def test_the_engine_says_nothing(artifact: Path) -> None:
    code = (
        "import sys\nimport numpy as np\nfrom pathlib import Path\n"
        "from edge_runtime.engines.litert import TfliteSession\n"
        "session = TfliteSession(Path(sys.argv[1]), 1)\n"
        "session.run(np.zeros((1, 3, 4, 4), np.float32))\n"
        "print('done', file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, str(artifact)]  # a process says it once
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "done\n")


def test_no_engine_answers_with_the_pip_line(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ai_edge_litert", "tflite_runtime", "tensorflow.lite.python"):
        monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
    with pytest.raises(MissingExtraError, match="pip install ai-edge-litert"):
        TfliteSession(artifact)


@pytest.mark.parametrize(
    ("package", "name"), [("tflite_runtime", "tflite-runtime"), ("tensorflow.lite.python", "tens")]
)
def test_forerunners_serve_where_the_engine_is_missing(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    forerunner = ModuleType(f"{package}.interpreter")
    forerunner.Interpreter = Interpreter  # type: ignore[attr-defined]
    for module in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
    monkeypatch.setitem(sys.modules, forerunner.__name__, forerunner)
    session: Session = TfliteSession(artifact, 1)
    assert session.name.startswith(name)
    batch = _noise(1, 3, 2, 4)
    np.testing.assert_array_equal(session.run(batch), _expected(batch))
