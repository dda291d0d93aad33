"""What the processor can do, as far as the system tells."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}  # as Linux lists them


def cpu_info() -> str:
    """Return what Linux tells of the processor; empty on other systems."""
    try:
        return _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def has_int8_dot_products() -> bool:
    """Return whether the processor is known to multiply and add int8 in one instruction.

    Without (VNNI on x86, SDOT on ARM) int8 networks are slower than float32 ones, and what takes
    the place of these instructions may give wrong sums: see ``OnnxSession``.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return not _DOT_PRODUCTS.isdisjoint(re.split(r"\s+", cpu_info()))
