"""Which inference engines are installed here, in which versions, without loading one."""

from __future__ import annotations

import functools
from importlib import metadata, util
from typing import Any

from edge_runtime.models.timings import cache_folder

BACKENDS = ("onnx", "tflite")
"""The formats that engines run, first the one that is taken where nothing else decides."""
EXTRAS = {"onnx": "", "tflite": "tflite"}
"""By backend: the extra of this package that brings its engine."""
CPU = "CPUExecutionProvider"

_MODULES = {
    "onnx": ("onnxruntime",),
    "tflite": ("ai_edge_litert", "tflite_runtime", "tensorflow"),
}
_DISTRIBUTIONS = {  # of a module, where they are not named alike
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
}
_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@functools.cache
def installed_engines() -> dict[str, str]:
    """Return the installed engines by backend, such as ``{'onnx': 'onnxruntime 1.31.1'}``."""
    found = {}
    for backend, modules in _MODULES.items():
        present = [name for name in modules if util.find_spec(name) is not None]
        if present:
            found[backend] = _with_version(present[0])
    return found


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


def _with_version(module: str) -> str:
    names = _DISTRIBUTIONS.get(module, (module.replace("_", "-"),))
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return f"{names[0]} of unknown version"
