"""Verification accepts what equals torch, and refuses everything else."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from core.checkpoint import Checkpoint
from core.networks.student import StudentConfig
from edge_runtime.models.card import Golden, load_card, write_card
from edge_runtime.report.golden import LIMITS, GoldenResult, draw_rainy, sample
from export.artifact import write_artifact
from export.errors import ExportError, ParityError
from export.verify import Check, compare, golden_check, require_parity, verify


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
    assert all(check.passed for check in checks)
    assert {check.limit for check in checks if not check.picture.startswith("golden")} == {1e-5}
    assert all(check.psnr > 80 for check in checks)
    sizes = {(check.height, check.width) for check in checks}
    assert {(4, 4), (4, 12), (20, 12), (256, 160)} <= sizes
    # A batch of two is of an odd multiple.
    assert [(c.height, c.width) for c in checks if c.picture == "both"] == [(20, 12)]
    kinds = {"streaks", "noise", "both", "golden", "golden/torch"}
    assert {check.picture for check in checks} == kinds


def test_tampered_weights_are_refused(artifact: Path, checkpoint: Checkpoint) -> None:
    tamper(artifact, 1e-3)
    with pytest.raises(ParityError, match=r"differs from torch by 0\.001 at \d+x\d+ \(\w+\)"):
        verify(artifact, checkpoint)


def test_the_limit_is_tight(artifact: Path, checkpoint: Checkpoint) -> None:
    tamper(artifact, 2e-5)
    checks = compare(artifact, checkpoint)
    assert {check.picture for check in checks if check.passed} == {"golden", "golden/torch"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "dynamic"])
def test_a_golden_result_is_judged_alike_as_a_check(precision: str) -> None:
    golden = Golden(
        drawer=1,
        seed=0,
        height=64,
        width=80,
        input_sha256="0" * 64,
        output_sha256="0" * 64,
        mean=(0.0,) * 3,
        deviation=(0.0,) * 3,
        samples="00",
    )
    limits = LIMITS[precision]
    for largest, rms in ((0, 0.0), limits, (limits.largest + 1, 0.0), (0, limits.rms * 1.01)):
        result = GoldenResult(True, False, largest, rms, limits)
        check = golden_check("golden", golden, result)
        assert check.passed == result.passed == (largest <= limits.largest and rms <= limits.rms)
        assert (check.height, check.width) == (64, 80)


def test_a_golden_pair_of_another_network_is_refused(
    artifact: Path, checkpoint: Checkpoint
) -> None:
    card, model = load_card(artifact), onnx.load(artifact)
    assert card.golden is not None
    other = draw_rainy(0, 64, 64)  # of a network that returns its input
    golden = dataclasses.replace(
        card.golden, output_sha256="0" * 64, samples=sample(other).tobytes().hex()
    )
    write_artifact(_without_card(model), dataclasses.replace(card, golden=golden), artifact)
    failed = [check.picture for check in compare(artifact, checkpoint) if not check.passed]
    assert failed == ["golden", "golden/torch"]


def _without_card(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.metadata_props[:]
    return model


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
