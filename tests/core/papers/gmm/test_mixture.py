import dataclasses

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from core.errors import DataError
from core.papers.gmm import mixture as module
from core.papers.gmm.mixture import Mixture


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(3, 6, 6)) * 0.3
    return Mixture(
        weights=np.array([0.2, 0.3, 0.5], np.float32),
        means=rng.normal(size=(3, 6)).astype(np.float32) * 0.1,
        covariances=(factors @ factors.transpose(0, 2, 1)).astype(np.float32),
    )


def test_log_joint_against_scikit_learn(mixture: Mixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    patches = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32) * 0.4
    noisy = mixture.covariances.astype(np.float64) + 0.02 * np.eye(6)
    oracle = GaussianMixture(3)
    oracle.weights_ = mixture.weights.astype(np.float64)
    oracle.means_ = mixture.means.astype(np.float64)
    oracle.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(noisy))
    joint = mixture.under_noise(0.02).log_joint(patches)
    expected = oracle.score_samples(patches.astype(np.float64))
    np.testing.assert_allclose(np.logaddexp.reduce(joint, axis=1), expected, rtol=1e-4)
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(shares, oracle.predict_proba(patches.astype(float)), atol=1e-4)


def test_restore_against_a_loop(mixture: Mixture) -> None:
    patches = np.random.default_rng(2).normal(size=(30, 6)).astype(np.float32) * 0.4
    noisy = mixture.under_noise(0.05)
    likeliest = noisy.log_joint(patches).argmax(axis=1)
    assert len(set(likeliest.tolist())) > 1
    expected = []
    for patch, k in zip(patches.astype(np.float64), likeliest, strict=True):
        mean, covariance = mixture.means[k], mixture.covariances[k].astype(np.float64)
        inverse = np.linalg.inv(covariance + 0.05 * np.eye(6))
        expected.append(mean + covariance @ inverse @ (patch - mean))
    np.testing.assert_allclose(noisy.restore(patches), expected, atol=1e-4)


def test_variance_is_that_of_what_is_drawn(mixture: Mixture) -> None:
    rng = np.random.default_rng(3)
    chosen = rng.choice(3, 200_000, p=mixture.weights / mixture.weights.sum())
    factors = np.linalg.cholesky(mixture.covariances.astype(np.float64) + 1e-9 * np.eye(6))
    noise = np.einsum("nij,nj->ni", factors[chosen], rng.normal(size=(len(chosen), 6)))
    assert np.square(mixture.means[chosen] + noise).mean() == pytest.approx(
        mixture.variance, rel=0.02
    )


def test_parameters_are_counted(mixture: Mixture) -> None:
    assert mixture.parameters == 3 * (1 + 6 + 21)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": np.ones(2, np.float32)}, r"weights \(2,\), means \(3, 6\)"),
        ({"means": np.zeros(6, np.float32)}, "do not fit"),
        ({"means": np.full((3, 6), np.nan, np.float32)}, "not finite"),
        ({"weights": np.array([0, 0.5, 0.5], np.float32)}, "a weight that is not above 0"),
    ],
)
def test_wrong_mixtures(mixture: Mixture, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(mixture, **changes)
