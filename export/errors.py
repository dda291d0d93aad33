"""Errors of export; all are one line and end a command without a traceback."""

from __future__ import annotations

from edge_runtime.errors import EdgeDerainError


class ExportError(EdgeDerainError):
    """A network that a format cannot hold, or an artifact that cannot be written or trusted."""


class ParityError(ExportError):
    """An artifact that computes something else than the network it came from."""
