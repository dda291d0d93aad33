from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from compress.cost import measure_cost
from core.checkpoint import Checkpoint, TrainingCost, load_checkpoint, save_checkpoint
from core.errors import DataError
from core.networks.student import StudentConfig, StudentNet
from core.papers import methods
from core.papers.methods import MethodConfig, know, one_thread, seconds, timing_picture
from edge_runtime.errors import RecordError
from edge_runtime.models.card import QualityRow

ROW = QualityRow(
    dataset="rain12", images=12, protocol="y", input_psnr=30, input_ssim=0.8, psnr=32, ssim=0.9
)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(methods, "SHIPPED", tmp_path)
    monkeypatch.setattr(methods, "GMM_SCORES", tmp_path / "scores.json")
    return tmp_path


def test_an_untrained_network_is_named(shipped: Path) -> None:
    known = know(MethodConfig("A", "x", checkpoint="a"))
    assert known.missing == "not trained yet (a.safetensors)"
    assert (known.derain, known.scores, known.parameters) == (None, {}, None)


def test_a_network_without_a_card_runs_but_has_no_scores(shipped: Path, picture) -> None:
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    cost = TrainingCost(5, 0.1, "1 CPU thread")
    checkpoint = Checkpoint("a", "teacher", "student", config, StudentNet(config).state_dict())
    save_checkpoint(shipped / "a.safetensors", dataclasses.replace(checkpoint, cost=cost))
    known = know(MethodConfig("A", "x", checkpoint="a"))
    assert known.missing.startswith("no card; make it: derain-export card core/checkpoints/a.safe")
    assert (known.cost, known.scores) == (cost, {})
    assert known.derain is not None
    assert known.derain(picture(12, 14)).shape == (12, 14, 3)


def test_a_card_is_read() -> None:
    known = know(MethodConfig("small", "ours", checkpoint="small"))
    assert known.missing == ""
    checkpoint = load_checkpoint("small")
    cost = measure_cost(checkpoint.build(), checkpoint.config.size_multiple)
    assert (known.parameters, known.macs_per_pixel) == (cost.parameters, cost.macs_per_pixel)
    assert known.scores["validation/rgb"].images == 61


def test_the_scores_of_gmm_are_what_evaluate_writes(shipped: Path) -> None:
    gmm = MethodConfig("GMM", "x", method="gmm")
    assert know(gmm).missing.startswith("not scored yet; run: derain evaluate --method gmm")
    rows = json.dumps([dataclasses.asdict(ROW)])
    (shipped / "scores.json").write_text(rows, encoding="utf-8")
    known = know(gmm)
    assert (known.missing, known.scores) == ("", {"rain12/y": ROW})
    assert known.parameters is not None
    assert known.parameters > 0
    (shipped / "scores.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(RecordError, match="key 'dataset' is missing"):
        know(gmm)
    (shipped / "scores.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match=r"no scores .*run: derain evaluate --method gmm"):
        know(gmm)


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
