import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.derainer import Derainer
from edge_runtime.errors import SessionError
from edge_runtime.models.card import ModelCard
from edge_runtime.report import measure
from edge_runtime.report.measure import TimedSession, derain_noise, measure_latency, peak_memory_of

BLOCK = 150_000_000


class _Clock:
    """A clock that stands still but for what ``advance`` adds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class _Slow:
    """A session that takes so many seconds in turn."""

    name = "slow"
    provider = "test"

    def __init__(self, clock: _Clock, *seconds: float) -> None:
        self.clock = clock
        self.seconds = list(seconds)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.clock.now += self.seconds.pop(0)
        return batch


def test_latency_is_the_median_of_what_counts(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    session = _Slow(clock, 50.0, 60.0, *(n / 10 for n in range(1, 12)))
    convert = measure.noise_picture(8, 16)

    def call(derainer: Derainer, picture: NDArray[np.uint8]) -> None:
        np.testing.assert_array_equal(picture, convert)
        clock.now += 0.5
        derainer.session.run(np.zeros(1, np.float32))

    monkeypatch.setattr(Derainer, "__call__", call)
    derainer = Derainer(session, card, Path("slow.onnx"))
    found = measure_latency(derainer, 8, 16, warm_up=2, repeats=11, clock=clock)
    assert (found.height, found.width, found.warm_up, found.repeats) == (8, 16, 2, 11)
    assert found.median_ms == pytest.approx(600 + 500)
    assert found.p95_ms == pytest.approx(1050 + 500)
    assert found.engine_ms == pytest.approx(600)
    assert derainer.session is session


def test_a_failed_run_counts_too(card: ModelCard) -> None:
    clock = _Clock()

    class Failing(_Slow):
        def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            super().run(batch)
            raise SessionError("failed")

    session = TimedSession(Failing(clock, 2.0), clock)
    with pytest.raises(SessionError, match="failed"):
        session.run(np.zeros(1, np.float32))
    assert session.seconds == 2.0


def _hold(size: int) -> tuple[int, int]:
    return os.getpid(), len(np.ones(size, np.uint8))


def _fail(kind: str) -> None:
    if kind == "die":
        os._exit(3)
    raise SessionError("as the engine said") if kind == "ours" else ValueError("no")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="as Linux tells it")
def test_the_peak_of_another_process_without_ours() -> None:
    ours = np.ones(BLOCK, np.uint8)
    small, large = peak_memory_of(_hold, 1000), peak_memory_of(_hold, BLOCK)
    assert small.result[0] not in (os.getpid(), large.result[0])
    assert large.result[1] == ours.size
    assert small.peak_bytes < BLOCK
    assert BLOCK <= large.peak_bytes - small.peak_bytes + 10**7 < 2 * BLOCK


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("ours", SessionError, "as the engine said"),
        ("other", ValueError, "no"),
        ("die", SessionError, "_fail: its process died; it may need more memory"),
    ],
)
def test_what_fails_there_is_told_here(kind: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        peak_memory_of(_fail, kind)


def test_a_model_in_a_process_of_its_own(model: str) -> None:
    found = peak_memory_of(derain_noise, model, 16, 24)
    assert (found.result.height, found.result.width, found.result.repeats) == (16, 24, 1)
    assert found.result.median_ms >= found.result.engine_ms > 0
