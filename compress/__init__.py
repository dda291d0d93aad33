"""From teacher to student: operations on checkpoints, and what a network costs to run.

    >>> from compress import PruneConfig, prune
    >>> pruned = prune("small", PruneConfig(target_macs=0.5)).checkpoint

Importing this package loads no torch: what is named below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.cost import measure_cost
    from compress.distillation import DistillConfig, distill
    from compress.pruning.prune import PruneConfig, prune
    from compress.quantization.quantize import QuantizeConfig, quantize

__all__ = [
    "DistillConfig",
    "PruneConfig",
    "QuantizeConfig",
    "distill",
    "measure_cost",
    "prune",
    "quantize",
]
_HOMES = {
    "measure_cost": "compress.cost",
    "DistillConfig": "compress.distillation",
    "distill": "compress.distillation",
    "PruneConfig": "compress.pruning.prune",
    "prune": "compress.pruning.prune",
    "QuantizeConfig": "compress.quantization.quantize",
    "quantize": "compress.quantization.quantize",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
