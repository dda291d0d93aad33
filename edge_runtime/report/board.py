"""How warm the processor is and whether it was slowed down, where the system shows that."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

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
