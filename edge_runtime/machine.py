"""What this machine is: its processor, its cores, and the engines installed on it."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.engines import installed_engines
from edge_runtime.session import physical_cores

_CPU_INFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}  # as Linux lists them


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


def has_int8_dot_products() -> bool:
    """Return whether the processor multiplies and adds int8 in one instruction.

    Without (VNNI on x86, SDOT on ARM) int8 networks are slower than float32 ones.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return not _DOT_PRODUCTS.isdisjoint(re.split(r"\s+", _text(_CPU_INFO)))


def _cpu_model() -> str:
    board = _text(_BOARD).strip("\0\n")
    model = re.search(r"^model name\s*: (.+)$", _text(_CPU_INFO), re.MULTILINE)
    return board or (model[1].strip() if model else platform.processor() or platform.machine())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
