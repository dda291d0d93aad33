from pathlib import Path

import pytest

from compress.report.gate import FIELDS, Condition
from compress.report.results import Results, gather
from edge_runtime.errors import UsageError
from tests.compress.report.conftest import card, device, measured, teacher_card, write


@pytest.fixture
def results(tmp_path: Path) -> Results:
    small, eight = card("small_fp32.onnx", 700, 27.5), card("small_int8.onnx", 200, 27.3)
    report = device(measured("small_fp32.onnx", small, 100, 0.5, 80_000_000))
    other = device(measured("small_fp32.onnx", small, 300, 0.5), cpu="Board Two")
    return gather(
        [
            write(tmp_path / "1.json", report),
            write(tmp_path / "2.json", other),
            write(tmp_path / "small_int8.onnx.json", eight),
            write(tmp_path / "t.safetensors.json", teacher_card()),
        ]
    )


@pytest.mark.parametrize(
    ("text", "failing"),
    [
        ("loss_db > 0.6", ["small_int8.onnx: loss_db is 0.7"]),
        ("loss_db>0.75", []),
        ("psnr < 27.4", ["small_int8.onnx: psnr is 27.3"]),
        ("bytes >= 7e5", ["small_fp32.onnx: bytes is 700000"]),
        ("bytes > 700000", []),
        ("bytes != 200000", ["small_fp32.onnx: bytes is 700000"]),
        ("macs_per_pixel == 2500", ["small_fp32.onnx: macs_per_pixel is 2500",
                                    "small_int8.onnx: macs_per_pixel is 2500"]),
        ("ms > 250", ["small_fp32.onnx: ms is 300", "small_int8.onnx: ms is not known"]),
        ("p95_ms > 450", ["small_int8.onnx: p95_ms is not known"]),
        ("peak_mb > 79", ["small_fp32.onnx: peak_mb is 80",
                          "small_int8.onnx: peak_mb is not known"]),
        ("worst_loss_db > .9", ["small_fp32.onnx: worst_loss_db is 1",
                                "small_int8.onnx: worst_loss_db is not known"]),
        ("fidelity_db <= 40.", ["small_fp32.onnx: fidelity_db is 40",
                                "small_int8.onnx: fidelity_db is not known"]),
    ],
)  # fmt: skip
def test_conditions_name_what_fails(results: Results, text: str, failing: list[str]) -> None:
    verdict = Condition.parse(text).judge(results.entries, "val/rgb")
    assert list(verdict.lines) == failing
    assert [line for line in failing if line.endswith("not known")] == list(verdict.unknown)


def test_quality_is_that_of_the_column(results: Results) -> None:
    verdict = Condition.parse("psnr < 28.9").judge(results.entries, "val/y")
    assert verdict.lines == ("small_int8.onnx: psnr is 28.8",)
    assert verdict.title == "psnr < 28.9 on val/y"
    worst, size = Condition.parse("worst_loss_db > 2"), Condition.parse("bytes > 2")
    assert worst.judge(results.entries, "val/y").title == "worst_loss_db > 2 on reference/rgb"
    assert size.judge(results.entries, "val/y").title == "bytes > 2"


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_field_can_be_read(results: Results, name: str) -> None:
    value = FIELDS[name](results.entries[0], "val/rgb")
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss_db", "must be FIELD COMPARISON NUMBER"),
        ("loss_db => 1", "must be FIELD COMPARISON NUMBER"),
        ("loss_db > 1; import os", "must be FIELD COMPARISON NUMBER"),
        ("__import__('os') > 1", "must be FIELD COMPARISON NUMBER"),
        ("loss_db > nan", "must be FIELD COMPARISON NUMBER"),
        ("loss_db > 1e999", "1e999 is too large"),
        ("lossdb > 1", "unknown field 'lossdb'; did you mean 'loss_db'.* Fields: loss_db, ssim_lo"),
        ("zzz > 1", "unknown field 'zzz'; there are loss_db, ssim_loss, .*peak_mb"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Condition.parse(text)
