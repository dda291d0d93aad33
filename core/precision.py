"""Whether a device has instructions for bfloat16, without which it is slower than float32."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

Precision = Literal["32-true", "bf16-mixed", "auto"]
"""Of the arithmetic; ``auto`` is bfloat16 where the device has instructions for it."""
_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As Linux names them; the last is that of ARM."""
_FIRST_GPU = (8, 0)
"""Compute capability of Ampere."""
_PROCESSOR = Path("/proc/cpuinfo")


def has_bfloat16(accelerator: str) -> bool:
    """Say whether an accelerator computes in bfloat16 rather than converting to and fro.

    Args:
        accelerator: ``cpu``, ``cuda``, ``mps``, or ``auto``, which is a GPU where there is one.

    Returns:
        False where it cannot be known, such as on a processor outside Linux.
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= _FIRST_GPU
    return accelerator == "cpu" and not _FLAGS.isdisjoint(_processor_flags())


def precision_on(accelerator: str, precision: Precision) -> Literal["32-true", "bf16-mixed"]:
    """Return the precision that is computed in, which is never ``auto``.

    Args:
        accelerator: as :func:`has_bfloat16` takes it.
        precision: what was asked for.
    """
    if precision == "auto":
        return "bf16-mixed" if has_bfloat16(accelerator) else "32-true"
    return precision


def _processor_flags() -> set[str]:
    try:
        lines = _PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    named = (line.partition(":") for line in lines)
    return {flag for name, _, flags in named if _is_flags(name) for flag in flags.split()}


def _is_flags(name: str) -> bool:
    return name.strip() in ("flags", "Features")
