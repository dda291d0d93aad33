"""A second opinion: litert-torch converts the same network, at one size, by another way.

It is no dependency of the project: ``pip install litert-torch`` beside the export extra.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.networks.gan_lstm import GanLstmConfig
from core.networks.student import StudentConfig
from edge_runtime.engines.litert import TfliteSession
from export.graph import ExportGraph
from export.to_tflite import to_tflite
from tests.export.test_architectures import CASES, make_teacher

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None,
    reason="litert-torch is not installed; run: pip install litert-torch",
)

NETWORKS: dict[str, tuple[str, Any]] = {
    "student": ("student", StudentConfig((8, 16), (1, 1), (1,))),
    "recurrent": ("gan_lstm", GanLstmConfig(width=4, stages=2, blocks=1, attention="spatial")),
    "deconv": CASES["deconv"],
}


@pytest.mark.parametrize("case", NETWORKS)
def test_another_converter_gives_the_same_pictures(case: str, tmp_path: Path) -> None:
    checkpoint = make_teacher(*NETWORKS[case])
    graph, side = ExportGraph(checkpoint.build()).eval(), 4 * checkpoint.config.size_multiple
    rainy = torch.rand(1, 3, side, 2 * side, generator=torch.Generator().manual_seed(0))
    theirs = _converted(graph, rainy, tmp_path / "theirs.tflite")
    path = tmp_path / "ours.tflite"
    path.write_bytes(to_tflite(checkpoint, "fp32"))
    found = TfliteSession(path, 1).run(rainy.numpy())
    with torch.no_grad():
        wanted = graph(rainy).numpy()
    assert np.abs(found - theirs).max() < 1e-5
    assert np.abs(theirs - wanted).max() < 1e-5
    assert np.abs(wanted - rainy.numpy()).max() > 1e-3  # or the network would do nothing


def _converted(graph: torch.nn.Module, rainy: torch.Tensor, path: Path) -> np.ndarray:
    """Convert at the size of ``rainy`` and return what LiteRT computes of it."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that it is built on
        import litert_torch

        litert_torch.convert(graph, (rainy,)).export(str(path))
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert tuple(given["shape"]) == tuple(rainy.shape)  # one size, NCHW
    interpreter.set_tensor(given["index"], rainy.numpy())
    interpreter.invoke()
    derained: np.ndarray = interpreter.get_tensor(result["index"])
    return derained
