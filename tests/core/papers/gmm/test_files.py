from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoint import load_tensors, save_tensors
from core.errors import CheckpointError, DataError
from core.pairs import SourceConfig
from core.papers.gmm.files import load_background, save_mixture
from core.papers.gmm.learn import PriorConfig
from core.papers.gmm.mixture import Mixture

CONFIG = PriorConfig((SourceConfig("clean", root="a/photos"),), components=2, patches=50, steps=3)


def _mixture(size: int) -> Mixture:
    covariances = np.stack([np.eye(size), 2 * np.eye(size)]).astype(np.float32)
    return Mixture(np.array([0.25, 0.75], np.float32), np.zeros((2, size), np.float32), covariances)


def test_a_mixture_comes_back(tmp_path: Path) -> None:
    save_mixture(tmp_path / "a.safetensors", _mixture(64), CONFIG)
    found = load_background(tmp_path / "a.safetensors")
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(found, name), getattr(_mixture(64), name))
    _, metadata = load_tensors(tmp_path / "a.safetensors")
    assert '"data": ["photos"], "patches": 50' in metadata["edge_derain.gmm"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_mixture(path, _mixture(9), CONFIG)
    with pytest.raises(DataError, match=r"patches of 9 pixels, and 8x8 are needed.*gmm-prior"):
        load_background(path)
    save_tensors(path, {"weights": torch.ones(2)}, {})
    with pytest.raises(DataError, match="no background mixture; make one with: derain gmm-prior"):
        load_background(path)
    path.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="torn"):
        load_background(path)


def test_the_shipped_background_is_one_of_photographs() -> None:
    found = load_background()
    assert found.weights.sum() == pytest.approx(1, abs=1e-4)
    variances = np.linalg.eigvalsh(found.covariances.astype(np.float64))
    assert variances.min() > 0
    np.testing.assert_allclose(found.means.sum(axis=1), 0, atol=1e-3)
