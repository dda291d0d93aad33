import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from core.papers.seconds import one_thread, seconds, timing_picture


def test_the_picture_is_of_the_size_of_rain100() -> None:
    assert timing_picture().shape == (320, 480, 3)
    assert timing_picture().dtype == np.uint8


def test_the_median_without_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([9.0, 1.0, 3.0, 8.0])
    clock = 0.0

    def derain(rainy: np.ndarray) -> np.ndarray:
        nonlocal clock
        clock += next(taken)
        return rainy

    monkeypatch.setattr(time, "process_time", lambda: clock)
    assert seconds(derain, np.zeros((2, 2, 3), np.uint8)) == 3
    assert next(taken, None) is None


def test_one_thread_and_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2), one_thread():
            assert torch.get_num_threads() == 1
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
