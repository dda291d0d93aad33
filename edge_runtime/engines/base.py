"""Sessions and engines, as interfaces, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import SessionError

Batch = NDArray[Any]
"""Batch: float32 NCHW, or where the artifact takes such, uint8 NHWC."""
Stages = int | Literal["auto"]
"""Passes of a recurrent network over a picture; ``'auto'``: until it no longer changes."""


class Session(Protocol):
    """An artifact, open and ready to run.

    Attributes:
        name: The engine with its version, such as ``'onnxruntime 1.32.0'``.
        provider: What executes in it, such as ``'CPUExecutionProvider'``.
    """

    name: str
    provider: str

    def run(self, batch: Batch) -> Batch:
        """Derain a batch: float32 NCHW RGB in [0, 1] in and out, of the same shape.

        Height and width are legal for the model: multiples of the card's ``size_multiple``. Where
        the card's ``io`` has 8 bits, uint8 NHWC in 0..255 in and out costs no conversion.

        Raises:
            SessionError: The engine failed, or its result has another shape.
        """


class Engine(Session, Protocol):
    """A session of an artifact of any number of inputs and outputs."""

    def call(self, tensors: Sequence[Batch], shapes: Sequence[tuple[int, ...]]) -> list[Batch]:
        """Run once: ``tensors``, NCHW, in the artifact's order in, of ``shapes`` out.

        Raises:
            SessionError: The engine failed, or a result has another shape.
        """


class ClosedSession:
    """What takes the place of a session that was closed, so that its engine can be freed."""

    def __init__(self, session: Session, artifact: Path) -> None:
        self.name = session.name
        self.provider = session.provider
        self._artifact = artifact

    def run(self, batch: Batch) -> Batch:
        """Raise SessionError."""
        raise SessionError(f"{self._artifact}: was closed; load it again")


def read_artifact(artifact: Path) -> bytes:
    """Return what is in the file of an artifact.

    Raises:
        SessionError: It cannot be read.
    """
    try:
        return artifact.read_bytes()
    except OSError as error:
        raise SessionError(f"{artifact}: cannot be read ({error.strerror})") from None


def check_signature(found: tuple[int, int], needed: tuple[int, int], artifact: Path) -> None:
    """Raise SessionError unless an artifact has as many inputs and outputs as are needed."""
    if found != needed:
        raise SessionError(
            f"{artifact}: has {found[0]} inputs and {found[1]} outputs, needed are "
            f"{needed[0]} and {needed[1]}; export it with derain-export"
        )


def in_levels(batch: Batch, run: Callable[[Batch], Batch]) -> Batch:
    """Derain float pictures with an engine of 8-bit ones: what it changes is added to them.

    What is finer than a level of 8 bits stays, as in pictures of 16.

    Args:
        batch: float32 NCHW in [0, 1].
        run: takes and gives uint8 NHWC.
    """
    levels = np.rint(batch.transpose(0, 2, 3, 1) * np.float32(255)).astype(np.uint8)
    change = np.subtract(run(levels), levels, dtype=np.float32).transpose(0, 3, 1, 2)
    derained: Batch = np.clip(batch + np.ascontiguousarray(change) / np.float32(255), 0, 1)
    return derained


def checked_result(
    result: Any, shape: tuple[int, ...], artifact: Path, dtype: type = np.float32
) -> Any:
    """Return what an engine gave for a batch of ``shape``, if it is one.

    Raises:
        SessionError: It is no array of that type and shape, or not finite.
    """
    if not isinstance(result, np.ndarray) or result.dtype != dtype or result.shape != shape:
        found = f"{getattr(result, 'dtype', type(result))} {getattr(result, 'shape', '')}"
        raise SessionError(
            f"{artifact}: returned {found} for {np.dtype(dtype)} {shape}; "
            "export it with derain-export"
        )
    with np.errstate(all="ignore"):
        if not np.isfinite(result.sum()):
            raise SessionError(f"{artifact}: returned pixels that are not finite; export it again")
    return result


def first_line(error: Exception) -> str:
    """Return what an engine's error says in one line, or its name if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
