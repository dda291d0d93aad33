"""ONNX Runtime: sessions of ONNX files, on the CPU or on what else it offers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.engines.base import (
    Batch,
    check_signature,
    checked_result,
    first_line,
    in_levels,
    read_artifact,
)
from edge_runtime.errors import MissingExtraError, SessionError
from edge_runtime.files import cache_folder
from edge_runtime.machine import has_int8_dot_products, thread_count

CPU = "CPUExecutionProvider"
_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
# Every ONNX tensor kept outside its file names that file under this protobuf entry (field 1,
# length 8). ONNX Runtime would look for it in the working directory.
_EXTERNAL_DATA = b"\x0a\x08location\x12"
_UINT8 = "tensor(uint8)"


class OnnxSession:
    """A session of ONNX Runtime.

    Where the processor has no int8 dot products, as far as is known, an int8 artifact is computed
    in float32 with its roundings. ONNX Runtime's int8 kernels would be no faster there, and wrong:
    on x86 they saturate, which ruins pictures, and on ARM they overflowed where -128 met -128
    twice (github.com/microsoft/onnxruntime/issues/31573).

    Args:
        artifact: An ONNX file with all its weights inside.
        threads: Threads that share one picture on the CPU; see ``thread_count``.
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
        # It would look for a server, and leave an identifier of this device in the cache folder.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "") from None
        onnxruntime.disable_telemetry_events()  # on Windows, and where it was imported before
        self._artifact = artifact
        content = _without_external_data(artifact)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = thread_count(threads)
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
        self._dtype = np.uint8 if inputs[0].type == _UINT8 else np.float32
        self.fixed_size = _size_of(inputs[0], artifact)
        """The one (height, width) that it takes; None if it takes any."""
        self.name = f"onnxruntime {onnxruntime.__version__}"
        self.provider = str(self._engine.get_providers()[0])

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        if batch.dtype != self._dtype:
            return in_levels(batch, self.run)
        return self.call([batch], [batch.shape])[0]

    def call(self, tensors: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[Batch]:
        """Run the engine once; see ``Engine.call``."""
        try:
            results = self._engine.run(None, dict(zip(self._inputs, tensors, strict=True)))
        except Exception as error:
            raise SessionError(
                f"{self._artifact}: failed on shape {tensors[0].shape} ({first_line(error)})"
            ) from None
        return [
            checked_result(result, shape, self._artifact, self._dtype)
            for result, shape in zip(results, shapes, strict=True)
        ]


def _size_of(tensor: Any, artifact: Path) -> tuple[int, int] | None:
    """Return the height and width that an input takes, or None if it takes any."""
    sides = tensor.shape[1:3] if tensor.type == _UINT8 else tensor.shape[2:]
    size = [each for each in sides if isinstance(each, int)]
    if tensor.type not in ("tensor(float)", _UINT8) or len(tensor.shape) != 4 or len(size) == 1:
        raise SessionError(
            f"{artifact}: {tensor.name!r} is {tensor.type} {tensor.shape}, and must be float32 "
            "NCHW or uint8 NHWC, height and width both fixed or both free; export it with "
            "derain-export"
        )
    return (size[0], size[1]) if size else None


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


def onnx_providers() -> list[str]:
    """Return what ONNX Runtime offers to execute in, first the one that is taken by default.

    A graphics processor comes before the CPU. TensorRT comes last, because it compiles the
    network for minutes: it is taken where ``--tune`` found that this pays.
    """
    import onnxruntime

    offered = onnxruntime.get_available_providers()
    return [name for name in (_CUDA, CPU, _TENSORRT) if name in offered]


def with_options(provider: str) -> list[Any]:
    """Return ``provider`` as ONNX Runtime takes it, and what serves it where it lacks an operator.

    What TensorRT compiled is kept in the cache folder for the next time.
    """
    if provider != _TENSORRT:
        return [provider]
    folder = str(cache_folder() / "tensorrt")
    return [(provider, {"trt_engine_cache_enable": True, "trt_engine_cache_path": folder}), _CUDA]


def _without_external_data(artifact: Path) -> bytes:
    content = read_artifact(artifact)
    if _EXTERNAL_DATA in content:
        raise SessionError(
            f"{artifact}: keeps weights in other files, which is refused; "
            "export it with external_data=False"
        )
    return content
