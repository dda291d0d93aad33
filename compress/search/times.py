"""Times of candidates in both engines, in int8 and in fp32, which need no training."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from compress.quantization.calibrate import choose_scales, observe
from compress.quantization.quantize import with_scales
from core.checkpoint import Checkpoint, save_checkpoint
from core.errors import ConfigError
from core.networks import ARCHITECTURES
from edge_runtime.derainer import Derainer
from edge_runtime.report.measure import measure_latency

HEIGHT, WIDTH = 720, 1280
_PASSES = 3
_KINDS = {
    "onnx_fp32": ("onnx", "fp32", "float32"),
    "onnx_int8": ("onnx", "int8", "uint8"),
    "tflite_fp32": ("tflite", "fp32", "float32"),
    "tflite_int8": ("tflite", "int8", "int8"),
}


@dataclass(frozen=True)
class Times:
    """Milliseconds of an engine for one picture of 1280 x 720, on one thread.

    Attributes:
        onnx_fp32: in ONNX Runtime; ``onnx_int8`` likewise, with pictures of 8 bits.
        tflite_fp32: in LiteRT; ``tflite_int8`` likewise.
    """

    onnx_fp32: float
    onnx_int8: float
    tflite_fp32: float
    tflite_int8: float

    @property
    def slowest_int8(self) -> float:
        """In whichever engine takes longer."""
        return max(self.onnx_int8, self.tflite_int8)


def measure_times(architecture: str, networks: Mapping[str, Any]) -> dict[str, Times]:
    """Measure candidates side by side, with random weights.

    Each is measured three times in turn, and of its medians the least counts: what else runs on
    the machine only ever adds.

    Args:
        architecture: of the networks.
        networks: their configs, by name.

    Raises:
        ConfigError: one that cannot be exported; says why.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        models = []
        for name, config in networks.items():
            net = ARCHITECTURES[architecture].module(config)
            plain = Checkpoint(name, "student", architecture, config, net.state_dict())
            side = config.size_multiple * 8
            noise = torch.randint(256, (2, 3, side, side), dtype=torch.uint8)
            scales = choose_scales(observe(net, noise, progress=False), "minmax", False)
            for precision, each in (("fp32", plain), ("int8", with_scales(plain, scales))):
                save_checkpoint(folder / f"{name}.{precision}", each)
            models += [
                {"checkpoint": str(folder / f"{name}.{precision}"), "format": format, "io": io}
                | {"precisions": [precision]}
                for format, precision, io in _KINDS.values()
            ]
        (folder / "release.yaml").write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
        _export(folder)
        opened = {
            (name, kind): Derainer.load(
                folder / f"{name}_{precision}.{format}", threads=1, scale=1, tile=0
            )
            for name in networks
            for kind, (format, precision, _) in _KINDS.items()
        }
        best = dict.fromkeys(opened, math.inf)
        for _ in range(_PASSES):
            for key, derainer in opened.items():
                latency = measure_latency(derainer, HEIGHT, WIDTH, warm_up=1, repeats=3)
                best[key] = min(best[key], latency.engine_ms)
    return {
        name: Times(**{kind: round(best[name, kind], 1) for kind in _KINDS}) for name in networks
    }


def _export(folder: Path) -> None:
    """Build artifacts by the command, because that package stands above this one."""
    command = [sys.executable, "-m", "export.cli", "all", str(folder / "release.yaml")]
    done = subprocess.run([*command, "-o", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"search.networks: {done.stderr.strip().splitlines()[-1]}")
