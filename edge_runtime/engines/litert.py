"""LiteRT: sessions of TFLite files."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
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
from edge_runtime.machine import thread_count

_ENGINES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)
"""Modules with an ``Interpreter``, best first, each with its distribution. The second is abandoned
but what many boards have; the third is for machines where all of TensorFlow is installed."""
_STDERR = 2
_SIGN = np.uint8(128)
"""The bit by which int8 levels less 128 differ from uint8 levels."""


class TfliteSession:
    """A session of LiteRT with its XNNPACK delegate, on the CPU.

    A new size is laid out when its first batch comes; batches of the same size after it cost
    nothing more. Threads may share a session: they take turns, as one interpreter allows.

    Args:
        artifact: A TFLite file whose inputs and outputs are NHWC, float32 or 8-bit pictures as
            int8, which is their levels less 128.
        threads: Threads that share one picture; see ``thread_count``.
        signature: How many inputs and outputs the artifact must have.

    Raises:
        MissingExtraError: Neither ai-edge-litert nor one of its forerunners is installed.
        SessionError: The file cannot be opened, or is no network from pictures to pictures.
    """

    def __init__(
        self, artifact: Path, threads: int | None = None, signature: tuple[int, int] = (1, 1)
    ) -> None:
        interpreter, self.name = find_engine()
        self.provider = "XNNPACK"
        self._artifact = artifact
        self._lock = threading.Lock()
        self._layout: tuple[tuple[int, ...], ...] = ()
        content = read_artifact(artifact)
        count = thread_count(threads)
        try:
            with _silent_stderr():  # XNNPACK introduces itself
                self._engine = interpreter(model_content=content, num_threads=count)
                self._engine.allocate_tensors()
            inputs, outputs = self._engine.get_input_details(), self._engine.get_output_details()
        except Exception as error:  # ValueError or RuntimeError, depending on what is wrong
            raise SessionError(f"{artifact}: LiteRT cannot open it ({first_line(error)})") from None
        check_signature((len(inputs), len(outputs)), signature, artifact)
        self._in_levels = {_in_levels(details, artifact) for details in (*inputs, *outputs)} == {
            True
        }
        self._inputs, self._outputs = (
            [int(details["index"]) for details in side] for side in (inputs, outputs)
        )
        height, width = (int(side) for side in inputs[0].get("shape_signature", (-1,) * 4)[1:3])
        self.fixed_size = (height, width) if min(height, width) > 0 else None
        """The one (height, width) that it takes; None if it takes any."""

    def run(self, batch: Batch) -> Batch:
        """Derain a batch; see ``Session.run``."""
        if self._in_levels and batch.dtype != np.uint8:
            return in_levels(batch, self.run)
        return self.call([batch], [batch.shape])[0]

    def call(self, tensors: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[Batch]:
        """Run the engine once; see ``Engine.call``."""
        with self._lock:
            try:
                results = self._run(tensors)
            except Exception as error:
                self._layout = ()  # a failed layout is not one to run in
                raise SessionError(
                    f"{self._artifact}: failed on shape {tensors[0].shape} ({first_line(error)})"
                ) from None
        return [
            checked_result(
                result, shape, self._artifact, np.uint8 if self._in_levels else np.float32
            )
            for result, shape in zip(results, shapes, strict=True)
        ]

    def _run(self, tensors: Sequence[Any]) -> list[Any]:
        if not self._in_levels:
            tensors = [tensor.transpose(0, 2, 3, 1) for tensor in tensors]
        layout = tuple(tensor.shape for tensor in tensors)
        if layout != self._layout:
            for index, shape in zip(self._inputs, layout, strict=True):
                self._engine.resize_tensor_input(index, list(shape))
            self._engine.allocate_tensors()
            self._layout = layout
        for index, tensor in zip(self._inputs, tensors, strict=True):
            if self._in_levels:
                np.bitwise_xor(tensor, _SIGN, out=self._engine.tensor(index)().view(np.uint8))
            else:
                self._engine.tensor(index)()[...] = tensor
        self._engine.invoke()
        # Copies, for the engine writes over what it holds in its next run.
        results = [self._engine.tensor(index)() for index in self._outputs]
        if self._in_levels:
            return [np.bitwise_xor(result.view(np.uint8), _SIGN) for result in results]
        return [np.array(result.transpose(0, 3, 1, 2), order="C") for result in results]


def _in_levels(details: dict[str, Any], artifact: Path) -> bool:
    """Tell whether a tensor holds levels of 8 bits, less 128, rather than float32.

    Raises:
        SessionError: It holds something else.
    """
    dtype, shape = np.dtype(details["dtype"]), details["shape"].tolist()
    scale, zero_point = details["quantization"]
    levels = dtype == np.int8 and (round(scale * 255, 6), zero_point) == (1, -128)
    if len(shape) != 4 or not (levels or dtype == np.float32):
        raise SessionError(
            f"{artifact}: {details['name']!r} is {dtype} {shape}, and must be float32 or levels "
            "as int8, of four dimensions; export it with derain-export"
        )
    return levels


def find_engine() -> tuple[Any, str]:
    """Return the class of the interpreter, and the name and version of what it comes from.

    Raises:
        MissingExtraError: Neither ai-edge-litert nor one of its forerunners is installed.
    """
    for module, distribution in _ENGINES:
        try:
            interpreter = importlib.import_module(module).Interpreter
        except ImportError:
            continue
        try:
            return interpreter, f"{distribution} {version(distribution)}"
        except PackageNotFoundError:  # tensorflow-cpu and others name themselves differently
            return interpreter, distribution
    raise MissingExtraError("ai-edge-litert", "tflite")


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what native code writes to the standard error stream, which it has no switch for."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # closed, as in a service: nothing to silence
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
