"""Functional and tangent-space PCA: known modes, R's fdapace, shards and projection."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from streams.distributions.errors import NotFittedError
from streams.distributions.fpca import FunctionalPCA
from streams.distributions.tangent_pca import TangentPCA

GRID = np.linspace(0, 1, 41)
LEVELS = np.linspace(0.02, 0.98, 49)
SINE = np.sqrt(2) * np.sin(2 * np.pi * GRID)
COSINE = np.sqrt(2) * np.cos(2 * np.pi * GRID)


def curves(n=200, seed=3):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 2)) * [3, 1]
    return 5 + scores @ np.array([SINE, COSINE]), scores


def normals(n=60, seed=4):
    """Return quantile vectors of normal distributions with random mean and sd."""
    rng = np.random.default_rng(seed)
    return rng.normal(10, 3, (n, 1)) + rng.gamma(40, 0.05, (n, 1)) * norm.ppf(LEVELS)


def test_modes_and_variances_are_those_of_the_curves():
    X, scores = curves()
    pca = FunctionalPCA(GRID, 2).fit(X)
    np.testing.assert_allclose(pca.mean_, X.mean(axis=0))
    covariance = np.cov(scores.T)
    np.testing.assert_allclose(pca.eigenvalues_, np.linalg.eigvalsh(covariance)[::-1], rtol=1e-9)
    np.testing.assert_allclose(np.trapezoid(pca.modes_**2, GRID, axis=1), 1)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(X)), X, atol=1e-9)
    assert pca.score(X) == pytest.approx(1)
    np.testing.assert_allclose(pca.explained_[-1], 1)


def test_mode_of_variation_is_multiples_of_its_standard_deviation():
    X, _ = curves()
    pca = FunctionalPCA(GRID, 2).fit(X)
    expected = pca.mean_ + np.outer([-2, 0, 2], np.sqrt(pca.eigenvalues_[1]) * pca.modes_[1])
    np.testing.assert_allclose(pca.modes_of_variation(1, (-2, 0, 2)), expected)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.permutations(range(5)))
def test_any_cut_and_order_gives_the_same_bits_in_fixed_point(cuts, order):
    X = normals()
    whole = TangentPCA(LEVELS, resolution=1e-6).fit(X)
    parts = np.split(X, sorted(cuts))
    merged = TangentPCA(LEVELS, resolution=1e-6).partial_fit(X[:0])
    for i in [i for i in order if i < len(parts)]:
        merged.merge(TangentPCA(LEVELS, resolution=1e-6).partial_fit(parts[i]))
    assert merged.moments_.covariance().tobytes() == whole.moments_.covariance().tobytes()
    assert merged.mean_.tobytes() == whole.mean_.tobytes()
    floats = TangentPCA(LEVELS).fit(X)
    for part in parts[:1]:
        again = TangentPCA(LEVELS).partial_fit(part).partial_fit(X[len(part) :])
        np.testing.assert_allclose(again.moments_.covariance(), floats.moments_.covariance(), atol=1e-10)
    np.testing.assert_allclose(merged.moments_.covariance(), floats.moments_.covariance(), atol=1e-4)


def test_large_values_do_not_overflow_fixed_point():
    X = normals() * 1e9
    exact = TangentPCA(LEVELS, resolution=1e-3).fit(X)
    np.testing.assert_allclose(exact.eigenvalues_[:2], TangentPCA(LEVELS).fit(X).eigenvalues_[:2], rtol=1e-9)
    with pytest.raises(ValueError, match="too large for a resolution"):
        TangentPCA(LEVELS, resolution=1e-9).fit(X * 1e9)


def test_scores_that_leave_the_distributions_come_back_projected():
    pca = TangentPCA(LEVELS, 2).fit(normals())
    inside, outside = np.array([[1.0, 0.0]]), np.array([[0.0, -100.0], [0.0, 100.0]])
    assert pca.projection_gap(inside)[0] == 0
    assert pca.projection_gap(outside).max() > 1
    assert (np.diff(pca.inverse_transform(outside), axis=1) >= 0).all()


def test_what_cannot_be_decomposed_is_refused_with_a_remedy():
    X = normals()
    with pytest.raises(NotFittedError, match="call fit"):
        _ = TangentPCA(LEVELS).mean_
    with pytest.raises(ValueError, match="at least 2"):
        TangentPCA(LEVELS).fit(X[:1])
    with pytest.raises(ValueError, match="all curves are equal"):
        TangentPCA(LEVELS).fit(X[[0, 0, 0]])
    with pytest.raises(ValueError, match="falls with the level"):
        TangentPCA(LEVELS).fit(-X)
    with pytest.raises(ValueError, match="NaN"):
        FunctionalPCA(LEVELS).fit(np.full((3, 49), np.nan))
    with pytest.raises(ValueError, match="shape"):
        FunctionalPCA(LEVELS).fit(X[:, 1:])
    with pytest.raises(ValueError, match="different grids"):
        TangentPCA(LEVELS).fit(X).merge(TangentPCA(LEVELS + 0.001).fit(X))


@pytest.mark.reference
def test_medfly_agrees_with_fdapace(refdata):
    import pandas as pd

    case = json.loads((refdata / "stats/cases/R19_fpca_medfly.json").read_text())
    expected = case["expected"]
    eggs = pd.read_csv(refdata / "stats" / case["input"]["dataset"]).to_numpy(float)
    pca = FunctionalPCA(np.array(case["input"]["t"], float), case["input"]["K"], metric="step").fit(eggs)
    np.testing.assert_allclose(pca.eigenvalues_, expected["lambda"], rtol=1e-6)
    np.testing.assert_allclose(pca.mean_, expected["mu"], atol=1e-6)
    sign = np.sign(pca.modes_[0] @ expected["phi1"])
    np.testing.assert_allclose(sign * pca.modes_[0], expected["phi1"], atol=0.02)
    np.testing.assert_allclose(sign * pca.transform(eggs)[:, 0], expected["scores1"], rtol=3e-2)
