"""From checkpoint to artifact: files that inference engines run, proven equal to their network.

    >>> from core import load_checkpoint
    >>> from export import export
    >>> artifact = export(load_checkpoint("small"), "artifacts", "tflite").artifact

Importing this package loads no torch: what is named below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.build import Built, export
    from export.verify import verify

__all__ = ["Built", "export", "verify"]
_HOMES = {
    "Built": "export.build",
    "export": "export.build",
    "verify": "export.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
