import signal
from pathlib import Path
from typing import Any

import pytest

from core.training.result import TrainResult


def _result(**values: Any) -> TrainResult:
    plain: dict[str, Any] = {"folder": Path("runs/a"), "step": 6, "steps": 6, "score": 27.126}
    plain |= {"stopped_by": None, "before_gan": None, "last": 26.0, "waiting": 0.25, "first": True}
    return TrainResult(**{**plain, **values})


def test_a_finished_run() -> None:
    assert _result().exit_code == 0
    assert _result().summary() == (
        "6 steps, best score 27.13 dB: runs/a/best.safetensors "
        "(25% of the time spent waiting for data)",
    )
    assert _result(before_gan=25.5).summary()[1] == (
        "score before the GAN phase 25.50 dB (before_gan.safetensors), "
        "after it 26.00 dB (last.safetensors)"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run(number: int) -> None:
    stopped = _result(step=2, score=None, stopped_by=int(number))
    assert stopped.exit_code == 128 + number
    assert stopped.summary() == (
        "stopped after step 2 of 6, saved in runs/a; the same command with --resume goes on",
    )


def test_only_the_first_process_speaks() -> None:
    assert _result(first=False).summary() == ()
    assert _result(first=False, stopped_by=15).exit_code == 143
