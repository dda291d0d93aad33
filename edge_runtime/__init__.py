"""The device: models run on photographs, videos and cameras by numpy, OpenCV and one engine.

    >>> from edge_runtime import Derainer
    >>> derained = Derainer.load()(rainy)  # HWC uint8 RGB in, the same out

Importing this package loads neither numpy nor OpenCV nor an engine: what is named below is
imported when it is first used, so that ``edge-derain --help`` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.errors import (
    CardError,
    EdgeDerainError,
    ImageError,
    MetricError,
    MissingExtraError,
    ModelNotFoundError,
    SessionError,
    UsageError,
    VideoError,
)

if TYPE_CHECKING:
    from edge_runtime.derainer import Derainer

    __version__: str

__all__ = [
    "CardError",
    "Derainer",
    "EdgeDerainError",
    "ImageError",
    "MetricError",
    "MissingExtraError",
    "ModelNotFoundError",
    "SessionError",
    "UsageError",
    "VideoError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "Derainer":
        from edge_runtime.derainer import Derainer

        return Derainer
    if name == "__version__":
        return _installed_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _installed_version() -> str:
    """Return the version of the installed distribution, or '0+unknown' in a bare checkout."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("edge-derain")
    except PackageNotFoundError:
        return "0+unknown"
