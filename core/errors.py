"""Errors of the training side, one line each, and what raises them for disks and configs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

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


@contextlib.contextmanager
def disk_errors(
    place: object, kind: type[EdgeDerainError], what: str = "written"
) -> Iterator[None]:
    """Say errors of the disk as ``PLACE: cannot be WHAT (cause)``, in an error of ``kind``."""
    try:
        yield
    except OSError as error:
        raise kind(f"{place}: cannot be {what} ({error.strerror or error})") from error


def check_bounds(config: Any, where: str = "", /, **bounds: float | tuple[float, float]) -> None:
    """Refuse numbers of a config that are out of bounds.

    Args:
        config: the config.
        where: what stands before the names of its fields in errors, such as ``mixture.``.
        bounds: by field the least, or the least and the most, that its number or both ends of its
            range may be.

    Raises:
        ConfigError: the first of them, what it is and what it may be.
    """
    for name, bound in bounds.items():
        value = getattr(config, name)
        least, most = bound if isinstance(bound, tuple) else (bound, math.inf)
        low, high = value if isinstance(value, tuple) else (value, value)
        if least <= low <= high <= most:
            continue
        if isinstance(value, tuple):
            said = f"{list(value)} is not a range within [{least:g}, {most:g}]"
        elif most < math.inf:
            said = f"{value} is not within [{least:g}, {most:g}]"
        else:
            said = f"{value} must be " + (f"at least {least:g}" if least else "0 or more")
        raise ConfigError(f"{where}{name} {said}")


def check_widths(config: Any, **counts: int) -> None:
    """Refuse lists of channels that are neither empty nor as many as said; raises ConfigError."""
    for name, count in counts.items():
        widths = getattr(config, name)
        if widths and (len(widths) != count or min(widths) < 1):
            raise ConfigError(
                f"{name} {list(widths)} must be {count} numbers of at least 1, or be left out"
            )
