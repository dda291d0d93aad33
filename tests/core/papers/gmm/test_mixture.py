from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from core.checkpoint import save_tensors
from core.errors import CheckpointError, DataError
from core.papers.gmm.mixture import SIDE, Mixture, average, extract, load_background


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(3, 6, 6)) * 0.3
    return Mixture(
        weights=np.array([0.2, 0.3, 0.5], np.float32),
        means=rng.normal(size=(3, 6)).astype(np.float32) * 0.1,
        covariances=(factors @ factors.transpose(0, 2, 1)).astype(np.float32),
    )


def test_log_joint_against_scikit_learn(mixture: Mixture) -> None:
    patches = np.random.default_rng(1).normal(size=(1100, 6)).astype(np.float32) * 0.4
    noisy = mixture.covariances.astype(np.float64) + 0.02 * np.eye(6)
    oracle = GaussianMixture(3)
    oracle.weights_ = mixture.weights.astype(np.float64)
    oracle.means_ = mixture.means.astype(np.float64)
    oracle.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(noisy))
    joint = mixture.log_joint(patches, 0.02)
    expected = oracle.score_samples(patches.astype(np.float64))
    np.testing.assert_allclose(np.logaddexp.reduce(joint, axis=1), expected, rtol=1e-4)
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(shares, oracle.predict_proba(patches.astype(float)), atol=1e-4)


def test_restore_against_a_loop(mixture: Mixture) -> None:
    patches = np.random.default_rng(2).normal(size=(30, 6)).astype(np.float32) * 0.4
    likeliest = mixture.log_joint(patches, 0.05).argmax(axis=1)
    assert len(set(likeliest.tolist())) > 1
    expected = []
    for patch, k in zip(patches.astype(np.float64), likeliest, strict=True):
        mean, covariance = mixture.means[k], mixture.covariances[k].astype(np.float64)
        inverse = np.linalg.inv(covariance + 0.05 * np.eye(6))
        expected.append(mean + covariance @ inverse @ (patch - mean))
    np.testing.assert_allclose(mixture.restore(patches, 0.05), expected, atol=1e-4)


def test_variance_is_that_of_what_is_drawn(mixture: Mixture) -> None:
    rng = np.random.default_rng(3)
    chosen = rng.choice(3, 200_000, p=mixture.weights / mixture.weights.sum())
    factors = np.linalg.cholesky(mixture.covariances.astype(np.float64) + 1e-9 * np.eye(6))
    noise = np.einsum("nij,nj->ni", factors[chosen], rng.normal(size=(len(chosen), 6)))
    assert np.square(mixture.means[chosen] + noise).mean() == pytest.approx(
        mixture.variance, rel=0.02
    )


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_extract_against_a_loop(stride: int) -> None:
    plane = np.random.default_rng(0).random((16, 24), np.float32)
    patches, means = extract(plane, stride)
    tiled = np.tile(plane, (2, 2))
    index = 0
    for y in range(0, 16, stride):
        for x in range(0, 24, stride):
            patch = tiled[y : y + SIDE, x : x + SIDE]
            np.testing.assert_allclose(means[index, 0], patch.mean(), rtol=1e-5)
            np.testing.assert_allclose(patches[index], (patch - patch.mean()).ravel(), atol=1e-6)
            index += 1
    assert index == len(patches)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_average_gives_the_plane_back(stride: int) -> None:
    plane = np.random.default_rng(1).random((16, 8), np.float32)
    patches, means = extract(plane, stride)
    np.testing.assert_allclose(average(patches + means, plane.shape, stride), plane, atol=1e-6)


def test_average_of_patches_that_disagree_against_a_loop() -> None:
    patches = np.random.default_rng(2).random((8 * 12, 64), np.float32)
    total = np.zeros((16, 24))
    for index, patch in enumerate(patches):
        y, x = 2 * (index // 12), 2 * (index % 12)
        for dy in range(SIDE):
            for dx in range(SIDE):
                total[(y + dy) % 16, (x + dx) % 24] += patch[dy * SIDE + dx]
    np.testing.assert_allclose(average(patches, (16, 24), 2), total / 16, atol=1e-5)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for size, names in ((9, ("weights", "means", "covariances")), (64, ("weights", "means"))):
        shapes = {"weights": (2,), "means": (2, size), "covariances": (2, size, size)}
        tensors = {name: torch.ones(shapes[name]) for name in names}
        save_tensors(path, tensors, {"edge_derain.gmm": "{}"})
        with pytest.raises(DataError, match="no mixture of 8x8 patches"):
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
