"""Verification accepts what equals torch, and refuses everything else."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from core.checkpoint import Checkpoint
from core.networks.student import StudentConfig
from edge_runtime.card import load_card, write_card
from edge_runtime.errors import CardError
from export import verify as verify_module
from export.errors import ExportError, ParityError
from export.verify import Check, compare, require_parity, verify


def tamper(artifact: Path, amount: float) -> None:
    """Move the last bias, and give the file a card that fits it again."""
    card, model = load_card(artifact), onnx.load(artifact)
    for tensor in model.graph.initializer:
        if tensor.name == "network.exit.bias":
            bias = onnx.numpy_helper.to_array(tensor) + np.float32(amount)
            tensor.CopyFrom(onnx.numpy_helper.from_array(bias, tensor.name))
    onnx.save(model, artifact)
    write_card(artifact, card)


def test_an_export_equals_torch(artifact: Path, checkpoint: Checkpoint) -> None:
    checks = verify(artifact, checkpoint)
    assert all(check.passed and check.limit == 1e-5 for check in checks)
    assert all(check.psnr > 80 for check in checks)
    sizes = {(check.height, check.width) for check in checks}
    assert {(4, 4), (4, 12), (20, 12), (256, 160)} <= sizes
    assert {check.picture for check in checks} == {"streaks", "noise", "both"}


def test_tampered_weights_are_refused(artifact: Path, checkpoint: Checkpoint) -> None:
    tamper(artifact, 1e-3)
    with pytest.raises(ParityError, match=r"differs from torch by 0\.001 at \d+x\d+ \(\w+\)"):
        verify(artifact, checkpoint)


def test_the_limit_is_tight(artifact: Path, checkpoint: Checkpoint) -> None:
    tamper(artifact, 2e-5)
    checks = compare(artifact, checkpoint)
    assert not any(check.passed for check in checks)


def test_a_damaged_file_is_refused_before_it_runs(artifact: Path, checkpoint: Checkpoint) -> None:
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(CardError, match="sha256"):
        verify(artifact, checkpoint)


def test_cards_that_disagree_are_refused(artifact: Path, checkpoint: Checkpoint) -> None:
    write_card(artifact, dataclasses.replace(load_card(artifact), halo=0))
    with pytest.raises(ExportError, match="the card inside differs"):
        verify(artifact, checkpoint)


def test_the_checkpoint_of_another_network_is_refused(
    artifact: Path, checkpoint: Checkpoint
) -> None:
    other = dataclasses.replace(checkpoint, config=StudentConfig())
    with pytest.raises(ExportError, match=r"was made from student .*name its own checkpoint"):
        verify(artifact, other)


def test_the_worst_check_is_named_and_nan_is_worst() -> None:
    def check(height: int, difference: float) -> Check:
        return Check("noise", height, 8, difference, 50.0, 1e-5)

    require_parity(Path("a.onnx"), [check(8, 0.0), check(16, 1e-5)])
    with pytest.raises(ParityError, match=r"by 0\.5 at 24x8"):
        require_parity(Path("a.onnx"), [check(8, 0.0), check(16, 0.1), check(24, 0.5)])
    with pytest.raises(ParityError, match="by nan at 16x8"):
        require_parity(Path("a.onnx"), [check(8, 0.5), check(16, math.nan), check(24, 0.6)])


@pytest.mark.parametrize("multiple", [1, 2, 8, 48])
def test_pictures_are_legal_and_the_same_every_time(multiple: int) -> None:
    cases = list(verify_module._cases(multiple))
    for (name, batch), (again, repeated) in zip(cases, verify_module._cases(multiple), strict=True):
        assert name == again
        assert np.array_equal(batch, repeated)
        assert batch.dtype == np.float32
        assert batch.min() >= 0
        assert batch.max() <= 1
        assert batch.shape[1] == 3
        assert batch.shape[2] % multiple == batch.shape[3] % multiple == 0
