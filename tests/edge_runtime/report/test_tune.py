import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import CardError, MissingExtraError, ModelNotFoundError, SessionError
from edge_runtime.machine import machine
from edge_runtime.models.card import ModelCard
from edge_runtime.models.catalog import Timing, find_model, remember
from edge_runtime.report import tune as tune_module
from edge_runtime.report.tune import tune, tune_table

SaveModel = Callable[..., Path]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class _Engine:
    """Opens sessions that take their time on a clock of their own, artifact by artifact."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.turns: list[str] = []

    def clock(self) -> float:
        return self.now

    def open(self, path: Path, card: ModelCard, threads: int | None, provider: str | None) -> Any:
        return _Session(self, path.stem, provider or CPU)


class _Session:
    name = "engine"

    def __init__(self, engine: _Engine, stem: str, provider: str) -> None:
        self.engine, self.stem = engine, stem
        self.provider = CPU if stem == "small_driverless" else provider

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.engine.turns.append(self.stem)
        first = self.stem not in self.engine.turns[:-1]
        self.engine.now += 99.0 if first else self.engine.seconds[self.stem]
        if self.stem == "small_broken" and not first:
            raise SessionError("broken: no kernel")
        return batch


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., _Engine]:
    def start(*providers: str, **seconds: float) -> _Engine:
        engine = _Engine(**seconds)
        monkeypatch.setattr(tune_module, "open_session", engine.open)
        monkeypatch.setattr(tune_module, "onnx_providers", lambda: list(providers or (CPU,)))
        return engine

    return start


def test_the_fastest_comes_first_and_all_take_turns(
    tmp_path: Path, save_model: SaveModel, start: Callable[..., _Engine]
) -> None:
    engine = start(small_fp32=2.0, small_int8=1.0)
    save_model("small_fp32", name="small")
    save_model("small_int8", name="small", precision="int8", gain=0.5)
    save_model("nano_fp32", name="nano")
    runs: list[int] = []
    found = tune("small", tmp_path, seconds=6.0, on_run=lambda: runs.append(1), clock=engine.clock)
    assert [c.path.stem for c in found] == ["small_int8", "small_fp32"]
    # The first picture of each, of 99 s, does not count; 4 rounds of 3 s make 12 of 2 * 6.
    assert [c.milliseconds for c in found] == [[1000.0] * 4, [2000.0] * 4]
    assert engine.turns == ["small_fp32", "small_int8"] * 5
    assert len(runs) == 10
    assert tune("small", tmp_path, seconds=0.0, clock=engine.clock)[0].milliseconds == [1000.0] * 3
    header, first, second = tune_table(found)
    assert header.split() == ["artifact", "engine", "provider", "ms", "of", "fastest"]
    assert first.split()[0] == "small_int8.onnx"
    assert first.split()[-3:] == [CPU, "1000.0", "1.00"]
    assert second.split()[-3:] == [CPU, "2000.0", "2.00"]


def test_what_is_remembered_is_taken(
    tmp_path: Path, save_model: SaveModel, start: Callable[..., _Engine]
) -> None:
    engine = start(small_fp32=2.0, small_int8=1.0)
    save_model("small_fp32", name="small")
    fast = save_model("small_int8", name="small", gain=0.5)
    found = tune("small", tmp_path, seconds=0.0, clock=engine.clock)
    timings = [contender.timing() for contender in found]
    sha256 = found[0].card.sha256
    here = machine()
    assert timings[0] == Timing(here.key, here.engines["onnx"], CPU, str(sha256), 1000.0, True)
    assert find_model("small", tmp_path) != fast
    remember(timing for timing in timings if timing is not None)
    assert find_model("small", tmp_path) == fast
    records = [contender.record(fast) for contender in found]
    assert [record["chosen"] for record in records] == [True, False]
    assert records[0]["milliseconds"] == 1000.0


def test_what_does_not_run_comes_last_with_its_reason(
    tmp_path: Path, save_model: SaveModel, start: Callable[..., _Engine]
) -> None:
    engine = start(small_ok=1.0, small_broken=0.1)
    save_model("small_broken", name="small", gain=0.1)
    save_model("small_ok", name="small", gain=0.2)
    ok, broken = tune("small", tmp_path, seconds=0.0, clock=engine.clock)
    assert (ok.path.stem, ok.median) == ("small_ok", 1000.0)
    assert (broken.error, broken.median) == ("broken: no kernel", None)
    assert engine.turns.count("small_broken") == 2  # the second of which failed
    # It is remembered that it does not run, so that the others count as all there are.
    remembered = broken.timing()
    assert remembered is not None
    assert remembered.milliseconds is None
    line = tune_table([ok, broken])[2]
    assert line.split()[-5:] == ["-", "-", "broken:", "no", "kernel"]
    broken.path.write_bytes(b"damaged")
    with pytest.raises(CardError, match="bytes but its card says"):
        tune("small", tmp_path, seconds=0.0, clock=engine.clock)


def test_each_provider_is_measured_where_it_can_be_set_up(
    tmp_path: Path, save_model: SaveModel, start: Callable[..., _Engine]
) -> None:
    engine = start(CUDA, CPU, small_int8=1.0, small_driverless=2.0)
    save_model("small_int8", name="small")
    save_model("small_driverless", name="small", gain=0.5)
    found = tune("small", tmp_path, seconds=0.0, clock=engine.clock)
    assert [(c.path.stem, c.provider) for c in found] == [
        ("small_int8", CUDA),
        ("small_int8", CPU),
        ("small_driverless", CPU),
        ("small_driverless", CUDA),
    ]
    assert found[-1].error == f"{CUDA} cannot be set up here"


def test_quality_is_told(
    tmp_path: Path, save_model: SaveModel, card: ModelCard, start: Callable[..., _Engine]
) -> None:
    engine = start(small_fp32=2.0, small_int8=1.0)
    row = dataclasses.replace(card.quality[0], dataset="validation")
    worse = dataclasses.replace(row, psnr=row.psnr - 0.2)
    save_model("small_fp32", name="small", quality=(row,))
    save_model("small_int8", name="small", precision="int8", quality=(worse,))
    fast, slow = tune("small", tmp_path, seconds=0.0, clock=engine.clock)
    assert (fast.path.stem, fast.good, slow.good) == ("small_int8", False, True)
    assert tune_table([fast, slow])[1].endswith("loses too much quality for auto")


def test_without_its_engine(
    tmp_path: Path,
    save_model: SaveModel,
    start: Callable[..., _Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start()
    save_model("small_int8", name="small")
    monkeypatch.setattr(tune_module, "installed_engines", dict)
    monkeypatch.setattr(tune_module, "open_session", _uninstalled)
    (found,) = tune("small", tmp_path, seconds=0.0)
    assert (found.engine, found.median, found.timing()) == (None, None, None)
    assert "pip install" in str(found.error)


def _uninstalled(*_: object) -> None:
    raise MissingExtraError("ai-edge-litert", "tflite")


def test_an_unknown_name(tmp_path: Path, save_model: SaveModel) -> None:
    save_model("small_fp32", name="small")
    with pytest.raises(ModelNotFoundError, match="'small_fp32': no model has this name; there are"):
        tune("small_fp32", tmp_path)
