from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from compress.cost import measure_cost
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.networks.student import StudentConfig, StudentNet
from core.papers.methods import MethodConfig, know, seconds, timing_picture
from edge_runtime.errors import CardError


def test_a_network_without_a_card_is_named(tmp_path: Path) -> None:
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    checkpoint = Checkpoint("a", "teacher", "student", config, StudentNet(config).state_dict())
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    with pytest.raises(CardError, match=r"a\.safetensors: no card; make it: derain-export"):
        know(MethodConfig("A", "x", checkpoint=str(path)))


def test_a_card_is_read() -> None:
    known = know(MethodConfig("small", "ours", checkpoint="small"))
    checkpoint = load_checkpoint("small")
    cost = measure_cost(checkpoint.build(), checkpoint.config.size_multiple)
    assert (known.parameters, known.macs_per_pixel) == (cost.parameters, cost.macs_per_pixel)
    assert known.scores["validation/rgb"].images == 61
    assert known.cost == checkpoint.cost


def test_gmm_has_scores_and_no_cost() -> None:
    known = know(MethodConfig("GMM", "x"))
    assert known.scores["rain12/y"].images == 12
    assert (known.parameters, known.macs_per_pixel, known.cost) == (214_500, None, None)


def test_the_median_without_the_warm_up_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (timing_picture().shape, timing_picture().dtype) == ((320, 480, 3), np.uint8)
    taken = iter([9.0, 1.0, 3.0, 8.0])
    clock = 0.0

    def derain(rainy: np.ndarray) -> np.ndarray:
        nonlocal clock
        clock += next(taken)
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        return rainy

    monkeypatch.setattr(time, "process_time", lambda: clock)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert seconds(derain, timing_picture()) == 3
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert next(taken, None) is None
