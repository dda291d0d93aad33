"""Open an artifact in an inference engine: the only file that names one, inside functions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.card import ModelCard
from edge_runtime.errors import MissingExtraError, SessionError

Batch = NDArray[np.float32]

# Every ONNX tensor kept outside its file names that file under this protobuf entry (field 1,
# length 8). ONNX Runtime would look for it in the working directory.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


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

        Height and width are legal for the model: multiples of the card's ``size_multiple``.

        Raises:
            SessionError: The engine failed, or its result has another shape.
        """


class OnnxSession:
    """A session of ONNX Runtime on the CPU.

    Args:
        artifact: An ONNX file with all its weights inside.
        threads: Threads that share one picture; None takes ``physical_cores()``.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        SessionError: The file cannot be opened, or keeps weights in other files.
    """

    def __init__(self, artifact: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "") from None
        self._artifact = artifact
        content = _read_model(artifact)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = physical_cores() if threads is None else threads
        try:
            self._engine = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise SessionError(
                f"{artifact}: ONNX Runtime cannot open it ({_line(error)})"
            ) from None
        inputs, outputs = self._engine.get_inputs(), self._engine.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise SessionError(
                f"{artifact}: has {len(inputs)} inputs and {len(outputs)} outputs, one of each "
                "is needed; export it with derain-export"
            )
        self._input = inputs[0].name
        self.name = f"onnxruntime {onnxruntime.__version__}"
        self.provider = str(self._engine.get_providers()[0])

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        try:
            (result,) = self._engine.run(None, {self._input: batch})
        except Exception as error:
            raise SessionError(
                f"{self._artifact}: failed on shape {batch.shape} ({_line(error)})"
            ) from None
        return _checked(result, batch.shape, self._artifact)


class ClosedSession:
    """What takes the place of a session that was closed, so that its engine can be freed."""

    def __init__(self, session: Session, artifact: Path) -> None:
        self.name = session.name
        self.provider = session.provider
        self._artifact = artifact

    def run(self, batch: Batch) -> Batch:
        """Raise SessionError."""
        raise SessionError(f"{self._artifact}: was closed; load it again")


def open_session(artifact: Path, card: ModelCard, threads: int | None = None) -> Session:
    """Open ``artifact`` in the engine that its card calls for.

    Raises:
        MissingExtraError: The engine is not installed.
        SessionError: The engine cannot open the artifact, or no engine here reads its format.
    """
    if card.format != "onnx":
        raise SessionError(f"{artifact}: no engine here reads {card.format!r}; use an .onnx model")
    return OnnxSession(artifact, threads)


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


def _read_model(artifact: Path) -> bytes:
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise SessionError(f"{artifact}: cannot be read ({error.strerror})") from None
    if _EXTERNAL_DATA in content:
        raise SessionError(
            f"{artifact}: keeps weights in other files, which is refused; "
            "export it with external_data=False"
        )
    return content


def _checked(result: Any, shape: tuple[int, ...], artifact: Path) -> Batch:
    if not isinstance(result, np.ndarray) or result.dtype != np.float32 or result.shape != shape:
        found = f"{getattr(result, 'dtype', type(result))} {getattr(result, 'shape', '')}"
        raise SessionError(
            f"{artifact}: returned {found} for float32 {shape}; export it with derain-export"
        )
    return result


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
