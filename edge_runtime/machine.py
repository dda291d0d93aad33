"""This machine: its processor, its cores, and the engines installed on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from edge_runtime.errors import UsageError

BACKENDS = ("onnx", "tflite")
"""The formats that engines run, first the one that is taken where nothing else decides."""
PACKAGES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
"""By backend: the package that brings its engine."""
_MODULES = {
    "onnx": ("onnxruntime",),
    "tflite": ("ai_edge_litert", "tflite_runtime", "tensorflow"),
}
_DISTRIBUTIONS = {  # of a module, where they are not named alike
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
}
CPU_INFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}  # as Linux lists them
_M_MMAP_THRESHOLD = -3  # of malloc.h
BOARD = Path("/proc/device-tree/model")


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


def machine(*, info: Path = CPU_INFO, board: Path = BOARD) -> Machine:
    """Describe this machine, from what Linux says of it, and the engines installed on it."""
    return Machine(
        cpu=_cpu_model(info, board),
        cores=physical_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        engines=installed_engines(),
    )


def _cpu_model(info: Path, board: Path) -> str:
    try:
        name = board.read_text(encoding="utf-8", errors="replace").strip("\0\n")
    except OSError:
        name = ""
    model = re.search(r"^model name\s*: (.+)$", cpu_info(info), re.MULTILINE)
    return name or (model[1].strip() if model else platform.processor() or platform.machine())


def return_large_blocks_at_once() -> None:
    """Keep glibc from holding freed pictures back in a pool of each thread.

    Its threshold for that grows with what it sees, to 32 MB, unless it is set once.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 23)


@functools.cache
def installed_backends() -> dict[str, str]:
    """Return by backend the module of the engine that is installed for it, without loading one."""
    return {
        backend: next(name for name in modules if util.find_spec(name) is not None)
        for backend, modules in _MODULES.items()
        if any(util.find_spec(name) is not None for name in modules)
    }


def installed_engines() -> dict[str, str]:
    """Return the installed engines by backend, such as ``{'onnx': 'onnxruntime 1.31.1'}``."""
    return {backend: _with_version(module) for backend, module in installed_backends().items()}


def thread_count(threads: int | None) -> int:
    """Return how many threads to take where ``threads`` are asked for; None: ``physical_cores()``.

    Raises:
        UsageError: Fewer than one, or more than there are processors.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} must be at least 1, or None")
    if threads is not None and threads > (os.cpu_count() or 1):
        raise UsageError(
            f"--threads {threads}: this machine has {os.cpu_count()} processors; ask for no more"
        )
    return physical_cores() if threads is None else threads


def physical_cores() -> int:
    """Return how many physical cores this process may run on, at least 1.

    Two hyper-threads of one core count once: they share the multipliers that inference waits for.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii"))
        except OSError:
            cores.add(str(cpu))
    return max(len(cores), 1)


def cpu_info(info: Path = CPU_INFO) -> str:
    """Return what Linux tells of the processor; empty on other systems."""
    try:
        return info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def has_int8_dot_products(info: Path = CPU_INFO) -> bool:
    """Return whether the processor is known to multiply and add int8 in one instruction.

    Without (VNNI on x86, SDOT on ARM) int8 networks are slower than float32 ones, and what takes
    the place of these instructions may give wrong sums: see ``engines.onnx_runtime.OnnxSession``.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return not _DOT_PRODUCTS.isdisjoint(re.split(r"\s+", cpu_info(info)))


def _with_version(module: str) -> str:
    from importlib import metadata  # slow, and needed only where something is measured

    names = _DISTRIBUTIONS.get(module, (module.replace("_", "-"),))
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return f"{names[0]} of unknown version"
