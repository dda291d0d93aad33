"""Open an artifact in an inference engine: the only file that names one, inside functions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines.installed import CPU, onnx_providers, with_options
from edge_runtime.errors import MissingExtraError, SessionError, UsageError
from edge_runtime.models.card import ModelCard
from edge_runtime.processor import has_int8_dot_products

if TYPE_CHECKING:
    from edge_runtime.quantities import Stages

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


class Engine(Session, Protocol):
    """A session of an artifact of any number of inputs and outputs."""

    def call(self, tensors: Sequence[Batch], shapes: Sequence[tuple[int, ...]]) -> list[Batch]:
        """Run once: ``tensors``, NCHW, in the artifact's order in, of ``shapes`` out.

        Raises:
            SessionError: The engine failed, or a result has another shape.
        """


class OnnxSession:
    """A session of ONNX Runtime.

    Where the processor has no int8 dot products, as far as is known, an int8 artifact is computed
    in float32 with its roundings. ONNX Runtime's int8 kernels would be no faster there, and wrong:
    on x86 they saturate, which ruins pictures, and on ARM they overflowed where -128 met -128
    twice (github.com/microsoft/onnxruntime/issues/31573).

    Args:
        artifact: An ONNX file with all its weights inside.
        threads: Threads that share one picture on the CPU; None takes ``physical_cores()``.
        provider: What executes; None takes the first of ``onnx_providers()``. Where it cannot
            be set up, as for want of a driver, the CPU executes, and ``provider`` says so.
        signature: How many inputs and outputs the artifact must have.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        SessionError: The file cannot be opened, or keeps weights in other files.
    """

    def __init__(
        self,
        artifact: Path,
        threads: int | None = None,
        provider: str | None = None,
        signature: tuple[int, int] = (1, 1),
    ) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "") from None
        self._artifact = artifact
        content = _without_external_data(artifact)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = physical_cores() if threads is None else threads
        # A plan of the memory is for one size, and tiles come in several: with it, runs take half
        # as much memory again, and 3 % less time.
        options.enable_mem_pattern = False
        if not has_int8_dot_products():
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        wanted = onnx_providers()[0] if provider is None else provider
        try:
            self._engine = _open_onnx(content, options, wanted)
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise SessionError(
                f"{artifact}: ONNX Runtime cannot open it ({first_line(error)})"
            ) from None
        inputs, outputs = self._engine.get_inputs(), self._engine.get_outputs()
        check_signature((len(inputs), len(outputs)), signature, artifact)
        self._inputs = [tensor.name for tensor in inputs]
        height, width = inputs[0].shape[2:]
        self.fixed_size = (height, width) if isinstance(height, int) else None
        """The one (height, width) that it takes; None if it takes any."""
        self.name = f"onnxruntime {onnxruntime.__version__}"
        self.provider = str(self._engine.get_providers()[0])

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        return self.call([batch], [batch.shape])[0]

    def call(self, tensors: Sequence[Batch], shapes: Sequence[tuple[int, ...]]) -> list[Batch]:
        """Run the engine once; see ``Engine.call``."""
        try:
            results = self._engine.run(None, dict(zip(self._inputs, tensors, strict=True)))
        except Exception as error:
            raise SessionError(
                f"{self._artifact}: failed on shape {tensors[0].shape} ({first_line(error)})"
            ) from None
        return [
            checked_result(result, shape, self._artifact)
            for result, shape in zip(results, shapes, strict=True)
        ]


def _open_onnx(content: bytes, options: Any, provider: str) -> Any:
    """Return ONNX Runtime's session with ``provider``, or with the CPU where that fails."""
    import onnxruntime

    def opened(*providers: Any) -> Any:
        # Its own way to fall back prints to standard output.
        return onnxruntime.InferenceSession(
            content, options, providers=providers, enable_fallback=0
        )

    if provider != CPU:
        options.log_severity_level = 4  # the provider that is named in the end says enough
        with contextlib.suppress(Exception):
            return opened(*with_options(provider), CPU)
        options.log_severity_level = 3
    return opened(CPU)


class ClosedSession:
    """What takes the place of a session that was closed, so that its engine can be freed."""

    def __init__(self, session: Session, artifact: Path) -> None:
        self.name = session.name
        self.provider = session.provider
        self._artifact = artifact

    def run(self, batch: Batch) -> Batch:
        """Raise SessionError."""
        raise SessionError(f"{self._artifact}: was closed; load it again")


def open_session(
    artifact: Path,
    card: ModelCard,
    threads: int | None = None,
    provider: str | None = None,
    stages: Stages | None = None,
) -> Session:
    """Open ``artifact`` in the engine that its card calls for.

    Raises:
        UsageError: ``stages`` that the artifact does not have; see ``StagedSession``.
        MissingExtraError: The engine is not installed.
        SessionError: The engine cannot open the artifact, or no engine here reads its format.
    """
    if card.step is not None:
        from edge_runtime.engines.stages import SIGNATURE, StagedSession

        engine = _open_engine(artifact, card, threads, provider, SIGNATURE)
        return StagedSession(engine, card.step, artifact, stages)
    if stages is not None:
        raise UsageError(
            f"stages {stages}: {artifact.name} is a whole network; leave it out, or name an "
            "artifact of derain-export with --step"
        )
    engine = _open_engine(artifact, card, threads, provider)
    if not isinstance(engine, OnnxSession) or engine.fixed_size is None:
        return engine
    from edge_runtime.engines.fixed_size import FixedSizeSession

    return FixedSizeSession(engine, engine.fixed_size, card, artifact)


def _open_engine(
    artifact: Path,
    card: ModelCard,
    threads: int | None,
    provider: str | None,
    signature: tuple[int, int] = (1, 1),
) -> Engine:
    if card.format == "onnx":
        return OnnxSession(artifact, threads, provider, signature)
    if card.format == "tflite":
        from edge_runtime.engines.litert import TfliteSession

        return TfliteSession(artifact, threads, signature)
    raise SessionError(
        f"{artifact}: no engine here reads {card.format!r}; use an .onnx or .tflite model"
    )


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


def read_artifact(artifact: Path) -> bytes:
    """Return what is in the file of an artifact.

    Raises:
        SessionError: It cannot be read.
    """
    try:
        return artifact.read_bytes()
    except OSError as error:
        raise SessionError(f"{artifact}: cannot be read ({error.strerror})") from None


def _without_external_data(artifact: Path) -> bytes:
    content = read_artifact(artifact)
    if _EXTERNAL_DATA in content:
        raise SessionError(
            f"{artifact}: keeps weights in other files, which is refused; "
            "export it with external_data=False"
        )
    return content


def check_signature(found: tuple[int, int], needed: tuple[int, int], artifact: Path) -> None:
    """Raise SessionError unless an artifact has as many inputs and outputs as are needed."""
    if found != needed:
        raise SessionError(
            f"{artifact}: has {found[0]} inputs and {found[1]} outputs, needed are "
            f"{needed[0]} and {needed[1]}; export it with derain-export"
        )


def checked_result(result: Any, shape: tuple[int, ...], artifact: Path) -> Batch:
    """Return what an engine gave for a batch of ``shape``, if it is one.

    Raises:
        SessionError: It is no float32 array of that shape.
    """
    if not isinstance(result, np.ndarray) or result.dtype != np.float32 or result.shape != shape:
        found = f"{getattr(result, 'dtype', type(result))} {getattr(result, 'shape', '')}"
        raise SessionError(
            f"{artifact}: returned {found} for float32 {shape}; export it with derain-export"
        )
    return result


def first_line(error: Exception) -> str:
    """Return what an engine's error says in one line, or its name if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
