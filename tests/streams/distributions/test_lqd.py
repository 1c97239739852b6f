"""The log-quantile-density transform against closed forms and R's fdadensity."""

import json

import numpy as np
import pytest

from streams.distributions.density_pca import DensityPCA
from streams.distributions.lqd import (
    density_of_lqd,
    log_quantile_density,
    normalised,
    quantile_density,
    quantile_of_density,
    quantile_of_lqd,
    regularised,
    wasserstein_mean_density,
)

X = np.linspace(0, 1, 101)
LINEAR = 0.5 + X
ROOT = np.sqrt(1 + 8 * X)  # f(Q(t)) of f(x) = 1/2 + x is half of this, and Q(t) half of it less one half


def test_linear_density_has_its_closed_forms():
    np.testing.assert_allclose(log_quantile_density(LINEAR, X, X), -np.log(ROOT / 2), atol=1e-6)
    np.testing.assert_allclose(quantile_of_density(LINEAR, X, X), (ROOT - 1) / 2, atol=1e-4)
    np.testing.assert_allclose(quantile_density(LINEAR, X, X), 2 / ROOT, atol=5e-4)


def test_inverse_gives_the_density_and_its_quantiles_back():
    psi = log_quantile_density(LINEAR, X, X)
    np.testing.assert_allclose(density_of_lqd(psi, X, X), LINEAR, atol=2e-4)
    np.testing.assert_allclose(quantile_of_lqd(psi, X, lower=3.0), 3 + (ROOT - 1) / 2, atol=1e-5)


def test_mean_of_shifted_uniform_like_densities_lies_between():
    mean = wasserstein_mean_density(np.array([LINEAR, 1.5 - X]), X, X)
    np.testing.assert_allclose(mean, mean[::-1], atol=1e-3)
    assert np.trapezoid(mean, X) == pytest.approx(1)


def test_regularised_density_has_the_least_value_asked_for():
    beta = normalised(12 * X * (1 - X) ** 2, X)
    regular = regularised(beta, X, 0.1)
    assert regular.min() == pytest.approx(0.1)
    assert np.trapezoid(regular, X) == pytest.approx(np.trapezoid(beta, X))
    assert regularised(LINEAR, X, 0.1) is LINEAR


def test_bad_densities_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match="take less than"):
        regularised(12 * X * (1 - X) ** 2, X, 1.5)
    with pytest.raises(ValueError, match="regularise it"):
        log_quantile_density(12 * X * (1 - X) ** 2, X, X)
    with pytest.raises(ValueError, match="finite"):
        normalised(-LINEAR, X)
    with pytest.raises(ValueError, match="zero everywhere"):
        normalised(0 * X, X)


def test_density_pca_finds_the_one_direction_in_which_densities_vary():
    tilt = np.linspace(-0.3, 0.3, 9)
    densities = np.array([density_of_lqd(a * np.cos(np.pi * X), X, X) for a in tilt])
    pca = DensityPCA(X, n_components=2).fit(densities)
    assert pca.curves_.explained_[0] > 0.99
    scores = pca.transform(densities)[:, 0]
    assert abs(np.corrcoef(scores, tilt)[0, 1]) > 0.999
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(densities)), densities, atol=0.01)
    assert pca.score(densities) > 0.999


def test_density_pca_in_batches_and_shards_is_the_same():
    rng = np.random.default_rng(5)
    densities = np.exp(rng.normal(size=(20, 3)) @ np.array([X, X**2, np.sin(3 * X)]))
    whole = DensityPCA(X).fit(densities)
    first, second = DensityPCA(X).partial_fit(densities[:7]), DensityPCA(X).partial_fit(densities[7:])
    merged = second.merge(first)
    np.testing.assert_allclose(merged.transform(densities), whole.transform(densities), atol=1e-10)


@pytest.mark.reference
def test_transform_agrees_with_fdadensity(refdata):
    case = json.loads((refdata / "stats/cases/R10_log_quantile_density_transform.json").read_text())
    given, expected, tolerance = case["input"], case["expected"], case["tolerance"]
    x, t = np.array(given["x"]), np.array(given["lqdSup"])
    f1, f2 = np.array(given["f1"]), np.array(given["f2"])
    beta = normalised(12 * x * (1 - x) ** 2, x)
    answers = {
        "lqd_f1": log_quantile_density(f1, x, t),
        "lqd_f2": log_quantile_density(f2, x, t),
        "lqd_f2_closed_form": log_quantile_density(f2, x, t),
        "dens_back_f1": density_of_lqd(log_quantile_density(f1, x, t), t, x),
        "quantile_from_lqd_f1": quantile_of_lqd(log_quantile_density(f1, x, t), t),
        "quantile_f1": quantile_of_density(f1, x, t),
        "quantile_density_f1": quantile_density(f1, x, t),
        "regularised_beta23": regularised(beta, x, given["alpha"]),
        "wf_mean_f1_f2": wasserstein_mean_density(np.array([f1, f2]), x, t),
    }
    assert answers.keys() == expected.keys()
    for name, value in answers.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=tolerance[name], err_msg=name)


@pytest.mark.reference
def test_density_pca_agrees_with_fdadensity(refdata):
    import pandas as pd

    case = json.loads((refdata / "stats/cases/R11_lqd_fpca_babynames_male.json").read_text())
    expected = case["expected"]
    names = pd.read_csv(refdata / "stats" / case["input"]["dataset"])
    x, counts = names["year"].to_numpy(float), names.iloc[:, 1:].to_numpy().T
    levels = np.array(expected["workGrid"])
    pca = DensityPCA(x, levels, case["input"]["K"], alpha=case["input"]["alpha"]).fit(counts)
    np.testing.assert_allclose(pca.curves_.eigenvalues_, expected["lambda"], rtol=1e-5)
    np.testing.assert_allclose(pca.curves_.explained_, expected["cumFVE"], atol=1e-6)
    np.testing.assert_allclose(pca.curves_.mean_, expected["mu"], atol=1e-5)
    sign = np.sign(np.array(expected["phi1"]).sum()) * np.sign(pca.curves_.modes_[0].sum())
    np.testing.assert_allclose(sign * pca.curves_.modes_[0], expected["phi1"], atol=1e-4)
    np.testing.assert_allclose(sign * pca.transform(counts)[:, 0], expected["scores1"], atol=1e-5)
    np.testing.assert_allclose(pca.explained(counts, "l2"), expected["FVE_L2"], atol=1e-5)
    np.testing.assert_allclose(pca.explained(counts, "wasserstein"), expected["FVE_W"], atol=1e-5)
