import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.errors import RecordError
from edge_runtime.models.records import to_json, to_plain
from edge_runtime.report import device as module
from edge_runtime.report.device import DeviceReport, Plan, make_report, markdown, read_report
from edge_runtime.report.endurance import BoardState, Sustained
from edge_runtime.report.measure import InProcess, Latency
from edge_runtime.report.reference import read_reference
from tests.helpers import flat, write_set

PLAN = Plan(threads=1, height=16, width=24, repeats=3)


@pytest.fixture
def made(
    tmp_path: Path, save_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> DeviceReport:
    """A report on a model that halves the brightness; its memory is not measured."""
    monkeypatch.setattr(module, "peak_memory_of", lambda *_: InProcess(None, 123_000_000))
    monkeypatch.setattr(module, "read_board", lambda: BoardState(temperature_c=44.4, throttled=()))
    folder = write_set(
        tmp_path / "set",
        {
            "light/a": (flat(200), flat(92), flat(96)),
            "heavy/b": (flat(200), flat(96), flat(97)),
            "heavy/c": (flat(200), flat(92), flat(100)),
        },
    )
    return make_report([save_model(gain=0.5)], read_reference(folder), PLAN)


def test_all_that_was_asked_for_is_measured(made: DeviceReport) -> None:
    (found,) = made.artifacts
    assert (found.file, found.card.name, found.threads) == ("echo_fp32.onnx", "echo", 1)
    assert found.engine.startswith("onnxruntime ")
    assert found.provider == "CPUExecutionProvider"
    latency = found.latency
    assert (latency.height, latency.width, latency.repeats) == (16, 24, 3)
    assert 0 < latency.median_ms <= latency.p95_ms
    assert (found.peak_bytes, found.sustained) == (123_000_000, None)
    assert found.after == BoardState(temperature_c=44.4, throttled=())
    overall = {row.dataset: row for row in found.sets if row.protocol == "rgb"}
    # The student gives 100: off by 8, 4 and 8. The teacher is off by 4, 1 and 8.
    assert overall["light"].psnr_loss_db == pytest.approx(6.0206, abs=1e-4)
    assert overall["heavy"].psnr_loss_db == pytest.approx(6.0206, abs=1e-4)
    assert overall["all rain"].worst == "heavy/b"
    assert overall["all rain"].spread.least == 0
    assert len(found.pictures) == 6
    assert made.reference.teacher == "master"
    assert made.reference.images == 3


def test_a_report_survives_json(made: DeviceReport) -> None:
    assert read_report(to_json(made), "x") == made


def test_reports_of_older_versions_are_read(made: DeviceReport) -> None:
    values = to_plain(made)
    artifact = values["artifacts"][0]
    for later in ("sustained", "before", "after"):
        del artifact[later]
    artifact["card"]["schema"] = 1
    for later in ("io", "golden", "step"):
        artifact["card"].pop(later, None)
    (found,) = read_report(json.dumps(values), "x").artifacts
    assert found.after == BoardState()
    assert found.card.golden is None


def test_newer_and_torn_reports_are_refused(made: DeviceReport) -> None:
    values = to_plain(made)
    with pytest.raises(RecordError, match=r"x: schema 2 is newer than 1.*upgrade"):
        read_report(json.dumps({**values, "schema": 2}), "x")
    with pytest.raises(RecordError, match="x: not JSON"):
        read_report(to_json(made)[:100], "x")
    values["artifacts"][0]["card"]["bytes"] = -1
    with pytest.raises(RecordError, match=r"artifacts\[0\]\.card\.bytes must be"):
        read_report(json.dumps(values), "x")


def test_memory_is_that_of_a_process_of_its_own(
    tmp_path: Path, save_model: Callable[..., Path]
) -> None:
    folder = write_set(tmp_path / "set", {"light/a": (flat(200), flat(92), flat(96))})
    told: list[tuple[str, float]] = []
    found = module.examine(
        save_model(), read_reference(folder), PLAN, lambda *each: told.append(each)
    )
    assert 10_000_000 < found.peak_bytes < 2_000_000_000
    assert [what for what, share in told if share == 1.0] == [
        "echo_fp32.onnx: pictures",
        "echo_fp32.onnx: latency",
        "echo_fp32.onnx: memory",
    ]


def test_minutes_are_measured_where_asked_for(
    tmp_path: Path, save_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "peak_memory_of", lambda *_: InProcess(None, 1))
    folder = write_set(tmp_path / "set", {"light/a": (flat(200), flat(92), flat(96))})
    plan = dataclasses.replace(PLAN, minutes=0.001)
    found = module.examine(save_model(), read_reference(folder), plan)
    assert found.sustained is not None
    assert found.sustained.runs >= 1
    assert found.sustained.seconds >= 0.06


def test_markdown_says_it_all(made: DeviceReport) -> None:
    artifact = dataclasses.replace(
        made.artifacts[0],
        latency=Latency(16, 24, 2, 3, 12.34, 23.45, 10.0),
        sustained=Sustained(
            height=16, width=24, seconds=90, runs=7, first_ms=10, last_ms=20, median_ms=15,
            p95_ms=21, hottest_c=81.6, throttled=("throttled",),
        ),
    )  # fmt: skip
    text = markdown(dataclasses.replace(made, artifacts=(artifact,)))
    assert text.startswith(f"# {made.machine.cpu}, ")
    assert " 12.3 |" in text
    assert "Median of 3 runs after 2 on a picture of 24 x 16." in text
    assert "Processor at 44 °C afterwards. Slowed down: no." in text
    assert "3 pictures against the teacher master (000000000000)" in text
    rows = [line for line in text.splitlines() if line.startswith("| echo_fp32.onnx | heavy")]
    assert [cell.strip() for cell in rows[0].split("|")][4:11] == [
        "2", "0", "7.63", "39.10", "33.08", "6.02", "12.04",
    ]  # fmt: skip
    assert "82 °C" in text
    bare = dataclasses.replace(artifact, sustained=None, after=BoardState())
    text = markdown(dataclasses.replace(made, artifacts=(bare,)))
    assert "°C" not in text
    assert "Slowed" not in text
