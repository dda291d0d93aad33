"""Errors of compression; all are one line and end a command without a traceback."""

from __future__ import annotations

from edge_runtime.errors import EdgeDerainError


class CostError(EdgeDerainError):
    """A network whose cost has no single number."""
