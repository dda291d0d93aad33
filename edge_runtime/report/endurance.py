"""Endurance: deraining for minutes on end, and how warm the board becomes, which slows it down."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.derainer import Derainer
from edge_runtime.report.measure import Clock, noise_picture

_SENSE_SECONDS = 2.0
_PART = 0.1  # of all runs that "first" and "last" stand for
_PROCESSOR_ZONES = re.compile(r"cpu|soc|x86_pkg|coretemp|k10temp", re.IGNORECASE)
_RASPBERRY_FLAGS = {  # raspberrypi.com/documentation/computers/os.html, get_throttled
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage earlier",
    17: "frequency capped earlier",
    18: "throttled earlier",
    19: "soft temperature limit earlier",
}


@dataclass(frozen=True, kw_only=True)
class BoardState:
    """The state of the board at one moment.

    Attributes:
        temperature_c: Of the hottest sensor of the processor, in degrees Celsius; None without
            sensors.
        throttled: What slows the processor down, or did since it was started; empty where nothing
            does, None where the board does not tell.
    """

    temperature_c: float | None = None
    throttled: tuple[str, ...] | None = None


def read_board(root: Path = Path("/")) -> BoardState:
    """Read the sensors of Linux and the flags of a Raspberry Pi.

    Args:
        root: Where ``sys`` lies; the Raspberry Pi's command is asked for ``/`` only.
    """
    return BoardState(temperature_c=_temperature(root), throttled=_throttled(root))


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """What a model does when it derains without a pause.

    Attributes:
        height: Of the picture in pixels; ``width`` likewise.
        seconds: How long it took in all. ``runs``: pictures derained.
        first_ms: Median of the first tenth of the runs. ``last_ms``: of the last tenth.
        median_ms: Of all. ``p95_ms``: their 95th percentile.
        hottest_c: Highest temperature seen, in degrees Celsius; None without sensors.
        throttled: Whatever slowed the processor down at any time; None where nothing tells.
    """

    height: int
    width: int
    seconds: float
    runs: int
    first_ms: float
    last_ms: float
    median_ms: float
    p95_ms: float
    hottest_c: float | None = None
    throttled: tuple[str, ...] | None = None


def measure_sustained(
    derainer: Derainer,
    height: int,
    width: int,
    seconds: float,
    *,
    tick: Callable[[float], None] = lambda _: None,
    clock: Clock = time.perf_counter,
    board: Callable[[], BoardState] = read_board,
) -> Sustained:
    """Derain one 8-bit picture over and over, at least once, for ``seconds``.

    Args:
        derainer: The opened model.
        height: Of the picture in pixels; ``width`` likewise.
        seconds: After which no new run begins.
        tick: Called after each run with the seconds since the start.
        clock: For tests. ``board``: likewise; asked every other second, outside of the runs.

    Raises:
        SessionError: The engine failed.
    """
    picture = noise_picture(height, width)
    times: list[float] = []
    states = [board()]
    start = sensed = clock()
    now = start
    while not times or now - start < seconds:
        before = clock()
        derainer(picture)
        now = clock()
        times.append((now - before) * 1000)
        if now - sensed >= _SENSE_SECONDS:
            states.append(board())
            sensed = now
        tick(now - start)
    part = max(round(len(times) * _PART), 1)
    median, p95 = np.percentile(times, [50, 95])
    temperatures = [s.temperature_c for s in states if s.temperature_c is not None]
    flags = [s.throttled for s in states if s.throttled is not None]
    return Sustained(
        height=height,
        width=width,
        seconds=now - start,
        runs=len(times),
        first_ms=float(np.median(times[:part])),
        last_ms=float(np.median(times[-part:])),
        median_ms=float(median),
        p95_ms=float(p95),
        hottest_c=max(temperatures, default=None),
        throttled=tuple(dict.fromkeys(flag for each in flags for flag in each)) if flags else None,
    )


def _temperature(root: Path) -> float | None:
    by_zone: dict[str, list[float]] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        with contextlib.suppress(OSError, ValueError):
            celsius = int((zone / "temp").read_text(encoding="ascii")) / 1000
            kind = (zone / "type").read_text(encoding="ascii", errors="replace").strip()
            if -50 < celsius < 200:  # sensors without power read as absurd values
                by_zone.setdefault(kind, []).append(celsius)
    of_processor = [max(found) for kind, found in by_zone.items() if _PROCESSOR_ZONES.search(kind)]
    return max(of_processor or map(max, by_zone.values()), default=None)


def _throttled(root: Path) -> tuple[str, ...] | None:
    answer = _raspberry_flags(root)
    try:
        bits = int(answer, 16) if answer else None
    except ValueError:
        return None
    if bits is None:
        return None
    return tuple(text for bit, text in _RASPBERRY_FLAGS.items() if bits >> bit & 1)


def _raspberry_flags(root: Path) -> str | None:
    """Return the flags in hexadecimal, from the kernel or else from ``vcgencmd``."""
    firmware = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    with contextlib.suppress(OSError):
        return firmware.read_text(encoding="ascii", errors="replace").strip()
    command = shutil.which("vcgencmd") if root == Path("/") else None
    if command is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=5)
        if done.returncode == 0 and "=" in done.stdout:
            return done.stdout.partition("=")[2].strip()
    return None
