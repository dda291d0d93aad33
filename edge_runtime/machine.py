"""What this machine is: its processor, its cores, and the engines installed on it."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.engines.installed import installed_engines
from edge_runtime.engines.session import physical_cores
from edge_runtime.processor import cpu_info

_M_MMAP_THRESHOLD = -3  # of malloc.h
_BOARD = Path("/proc/device-tree/model")


@dataclass(frozen=True)
class Machine:
    """Where something was measured.

    Attributes:
        cpu: Model of the board or processor, as far as the system tells.
        cores: Physical cores that this process may use.
        system: Kernel and architecture, such as ``'Linux aarch64'``.
        python: Version of the interpreter.
        engines: Installed engines by backend, such as ``{'onnx': 'onnxruntime 1.31.1'}``.
    """

    cpu: str
    cores: int
    system: str
    python: str
    engines: dict[str, str]

    @property
    def key(self) -> str:
        """What has to be equal for a measured time to be true again."""
        return f"{self.cpu}, {self.cores} cores, {self.system}"


def machine() -> Machine:
    """Describe this machine and the engines that are installed on it."""
    return Machine(
        cpu=_cpu_model(),
        cores=physical_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        engines=installed_engines(),
    )


def _cpu_model() -> str:
    try:
        board = _BOARD.read_text(encoding="utf-8", errors="replace").strip("\0\n")
    except OSError:
        board = ""
    model = re.search(r"^model name\s*: (.+)$", cpu_info(), re.MULTILINE)
    return board or (model[1].strip() if model else platform.processor() or platform.machine())


def return_large_blocks_at_once() -> None:
    """Keep glibc from holding freed pictures back in a pool of each thread.

    Its threshold for that grows with what it sees, to 32 MB, unless it is set once.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 23)
