"""Errors of the training side; all are one line and end a command without a traceback."""

from __future__ import annotations

from edge_runtime.errors import EdgeDerainError


class ConfigError(EdgeDerainError):
    """A value in a config file or on the command line that cannot be used."""

    exit_code = 2


class DataError(EdgeDerainError):
    """A data set that is missing, unreadable or inconsistent."""


class CheckpointError(EdgeDerainError):
    """A checkpoint that is missing, torn or does not fit its own config."""


class TrainingError(EdgeDerainError):
    """A training run that cannot go on."""
