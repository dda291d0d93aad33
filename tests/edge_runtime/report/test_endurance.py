import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_runtime.derainer import Derainer
from edge_runtime.report import endurance
from edge_runtime.report.endurance import BoardState, measure_sustained, read_board


class Engine:
    """Derains in simulated time: the first runs take 125 ms, later ones 250."""

    def __init__(self, fast: int) -> None:
        self.now = 0.0
        self.left = fast

    def __call__(self, picture: Any) -> Any:
        assert picture.shape == (8, 12, 3)
        self.now += 0.125 if self.left > 0 else 0.25
        self.left -= 1
        return picture


def _measure(engine: Engine, seconds: float, states: Iterator[BoardState], **more: Any) -> Any:
    return measure_sustained(
        cast(Derainer, engine),
        8,
        12,
        seconds,
        clock=lambda: engine.now,
        board=lambda: next(states),
        **more,
    )


def _cool() -> Iterator[BoardState]:
    while True:
        yield BoardState()


def test_runs_go_on_for_the_time_and_slow_ones_show() -> None:
    seen: list[float] = []
    found = _measure(Engine(fast=40), 15.0, _cool(), tick=seen.append)
    assert found.runs == 80 == len(seen)
    assert found.seconds == 15 == seen[-1]
    assert (found.first_ms, found.last_ms) == (125, 250)
    assert found.median_ms == 187.5
    assert found.p95_ms == 250
    assert (found.hottest_c, found.throttled) == (None, None)


def test_one_run_is_always_made() -> None:
    assert _measure(Engine(fast=1), 0.0, _cool()).runs == 1


def test_heat_and_throttling_of_any_time_are_kept() -> None:
    states = iter(
        [
            BoardState(temperature_c=40.0, throttled=()),
            BoardState(temperature_c=81.5, throttled=("throttled",)),
            BoardState(temperature_c=80.0, throttled=("throttled", "frequency capped")),
        ]
    )
    found = _measure(Engine(fast=100), 5.0, states)
    assert found.hottest_c == 81.5
    assert found.throttled == ("throttled", "frequency capped")


def _zone(root: Path, number: int, kind: str, value: str) -> None:
    zone = root / f"sys/class/thermal/thermal_zone{number}"
    zone.mkdir(parents=True)
    (zone / "type").write_text(kind + "\n", encoding="ascii")
    (zone / "temp").write_text(value + "\n", encoding="ascii")


def _flags(root: Path, text: str) -> None:
    firmware = root / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text(text, encoding="ascii")


def test_a_machine_without_sensors_shows_nothing(tmp_path: Path) -> None:
    assert read_board(tmp_path) == BoardState(temperature_c=None, throttled=None)


def test_the_hottest_zone_of_the_processor_counts(tmp_path: Path) -> None:
    _zone(tmp_path, 0, "gpu-thermal", "90000")
    _zone(tmp_path, 1, "cpu-thermal", "51250")
    _zone(tmp_path, 2, "CPU-therm", "48000")
    assert read_board(tmp_path).temperature_c == 51.25


def test_other_zones_count_where_none_is_the_processors(tmp_path: Path) -> None:
    _zone(tmp_path, 0, "acpitz", "27800")
    _zone(tmp_path, 1, "acpitz", "40000")
    assert read_board(tmp_path).temperature_c == 40


@pytest.mark.parametrize("value", ["-274000", "250000", "n/a", ""])
def test_sensors_that_say_nonsense_are_left_out(tmp_path: Path, value: str) -> None:
    _zone(tmp_path, 0, "cpu-thermal", value)
    assert read_board(tmp_path).temperature_c is None


@pytest.mark.parametrize(
    ("bits", "flags"),
    [
        ("0\n", ()),
        ("0x50005", ("under-voltage", "throttled", "under-voltage earlier", "throttled earlier")),
        ("80008", ("soft temperature limit", "soft temperature limit earlier")),
        ("?", None),
    ],
)
def test_flags_of_a_raspberry_pi(tmp_path: Path, bits: str, flags: tuple[str, ...] | None) -> None:
    _flags(tmp_path, bits)
    assert read_board(tmp_path).throttled == flags


def test_vcgencmd_is_asked_where_the_kernel_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command == ["/bin/vcgencmd", "get_throttled"]
        return SimpleNamespace(returncode=0, stdout="throttled=0x4\n")

    monkeypatch.setattr(endurance.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)
    assert read_board().throttled == ("throttled",)
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stdout="")
    )
    assert read_board().throttled is None
