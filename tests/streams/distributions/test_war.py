"""Wasserstein autoregression: known coefficients, R's WRI, segments and panels, bands and surprise."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from streams.distributions.monotone import cdf_bounds
from streams.distributions.war import WassersteinAutoregression as War
from streams.distributions.war import yule_walker

LEVELS = np.linspace(0.05, 0.95, 19)


def series(n=400, betas=(0.6,), seed=1):
    """Return normal distributions whose mean is an autoregression, and whose sd varies a little by itself."""
    rng = np.random.default_rng(seed)
    mean = np.zeros(n + 50)
    for t in range(len(betas), len(mean)):
        mean[t] = sum(b * mean[t - j] for j, b in enumerate(betas, 1)) + rng.normal()
    return 10 + mean[50:, None] + rng.gamma(400, 0.005, (n, 1)) * norm.ppf(LEVELS)


def test_yule_walker_solves_a_known_case():
    np.testing.assert_allclose(yule_walker(np.array([1, 0.5, 0.4]), 2), [0.4, 0.2])
    assert len(yule_walker(np.array([1.0]), 0)) == 0


def test_autocovariances_are_their_definition():
    X = series(30)
    war = War(LEVELS, 2).fit(X)
    T = X - X.mean(axis=0)
    for h in range(3):
        product = (T[: 30 - h] * T[h:]).sum(axis=0) / 30
        assert war.autocovariances_[h] == pytest.approx(np.trapezoid(product, LEVELS), rel=1e-12)
    np.testing.assert_allclose(war.coefficients_, yule_walker(war.autocovariances_, 2))


def test_coefficients_lie_within_their_error():
    war = War(LEVELS, 2).fit(series(3_000, (0.5, 0.2)))
    error = np.sqrt(np.diag(war.coefficient_covariance_))
    assert (np.abs(war.coefficients_ - [0.5, 0.2]) < 4 * error).all()
    assert (error < 0.03).all()


@pytest.mark.parametrize(("betas", "order"), [((), 0), ((0.6,), 1), ((0.3, 0.4), 2)])
def test_order_is_selected(betas, order):
    assert len(War(LEVELS, None).fit(series(1_500, betas)).coefficients_) == order


def test_one_step_forecast_is_the_regression_on_the_last_rows():
    X = series()
    war = War(LEVELS, 2).fit(X)
    expected = war.mean_ + war.coefficients_ @ (X[[-1, -2]] - war.mean_)
    np.testing.assert_allclose(war.forecast().mean[0], expected)
    np.testing.assert_allclose(war.predict(X)[-1], expected)
    np.testing.assert_allclose(war.forecast(X[-2:]).mean[0], expected)
    left = np.trapezoid((X[2:] - war.predict(X)[:-1]) ** 2, LEVELS).sum()
    spread = np.trapezoid((X[2:] - war.mean_) ** 2, LEVELS).sum()
    assert war.score(X) == pytest.approx(1 - left / spread)


def test_band_holds_the_next_quantiles_as_often_as_it_says():
    X = series(6_000)
    war = War(LEVELS, 1).fit(X[:3_000])
    for steps in (1, 3):
        held = []
        for t in range(3_000, 5_990, 10):
            forecast = war.forecast(X[t - 1 : t], steps=steps, coverage=0.9)
            held.append((forecast.lower[-1] <= X[t + steps - 1]) & (X[t + steps - 1] <= forecast.upper[-1]))
        assert np.mean(held) == pytest.approx(0.9, abs=0.04)


def test_forecasts_and_bands_are_quantile_vectors():
    rng = np.random.default_rng(2)
    X = np.sort(rng.normal(size=(12, 19)) * rng.gamma(1, 1, (12, 1)), axis=1)
    forecast = War(LEVELS, 5).fit(X).forecast(steps=4)
    for band in (forecast.mean, forecast.lower, forecast.upper):
        assert (np.diff(band, axis=1) >= 0).all()
    assert (forecast.lower <= forecast.mean).all()
    assert (forecast.mean <= forecast.upper).all()
    assert (War(LEVELS, 1, support=(-0.1, 0.1)).fit(X).forecast().gap > 0).all()


def test_surprise_has_uniform_p_values_and_finds_what_is_odd():
    X = series(4_000)
    war = War(LEVELS, 1).fit(X)
    p = war.surprise(X).p_value
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)
    odd = X[:50].copy()
    odd[30] = np.median(odd[30]) + 4 * (odd[30] - np.median(odd[30]))  # the same centre, another spread
    found = war.surprise(odd)
    assert found.size.argmax() == 29
    assert found.p_value[29] < 1e-5


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), max_size=5), st.booleans())
def test_segments_join_to_the_whole(cuts, grow):
    X = series(40)
    for resolution in (None, 1e-6):
        whole = War(LEVELS, 2, max_order=3, resolution=resolution).fit(X)
        joined = War(LEVELS, 2, max_order=3, resolution=resolution).partial_fit(X[:0])
        for part in np.split(X, sorted(cuts)):
            if grow:
                joined.partial_fit(part)
            else:
                joined.append(War(LEVELS, 2, max_order=3, resolution=resolution).partial_fit(part))
        for name in ("mean_", "coefficients_", "noise_covariance_", "autocovariances_"):
            np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=0, atol=1e-10)
            if resolution:
                assert getattr(joined, name).tobytes() == getattr(whole, name).tobytes()
        np.testing.assert_array_equal(joined.moments_.tail, X[-3:])
        np.testing.assert_array_equal(joined.moments_.head, X[:3])


def test_segments_join_in_any_grouping():
    X = series(40)
    a, b, c = (War(LEVELS, 2).partial_fit(part) for part in np.split(X, [2, 5]))
    a2, b2, c2 = (War(LEVELS, 2).partial_fit(part) for part in np.split(X, [2, 5]))
    left, right = a.append(b).append(c), a2.append(b2.append(c2))
    np.testing.assert_allclose(left.coefficients_, right.coefficients_, atol=1e-12)


def test_panels_add_up_in_any_order_and_make_no_pairs_across():
    X, Y = series(40), 5 + series(30, seed=2)
    panels = [War(LEVELS, 1, resolution=1e-6).fit(rows) for rows in (X, Y)]
    one = War(LEVELS, 1, resolution=1e-6).merge(panels[0]).merge(panels[1])
    other = War(LEVELS, 1, resolution=1e-6).merge(panels[1]).merge(panels[0])
    assert one.noise_covariance_.tobytes() == other.noise_covariance_.tobytes()
    with_gap = War(LEVELS, 1, resolution=1e-6).partial_fit(X)
    with_gap.gap()
    with_gap.partial_fit(Y)
    assert with_gap.coefficients_.tobytes() == one.coefficients_.tobytes()
    mean = np.concatenate([X, Y]).mean(axis=0)
    pairs = sum(((P[:-1] - mean) * (P[1:] - mean)).sum(axis=0) for P in (X, Y)) / 70
    assert one.autocovariances_[1] == pytest.approx(np.trapezoid(pairs, LEVELS), rel=1e-6)


def test_what_cannot_be_fitted_is_refused_with_a_remedy():
    X = series(10)
    with pytest.raises(ValueError, match="at least 3"):
        War(LEVELS, 1).fit(X[:2])
    with pytest.raises(ValueError, match="nothing to forecast"):
        War(LEVELS, 1).fit(X[[0, 0, 0, 0]])
    with pytest.raises(ValueError, match="needs 2"):
        War(LEVELS, 2).fit(X).forecast(X[:1])
    with pytest.raises(ValueError, match="different levels"):
        War(LEVELS).fit(X).merge(War(LEVELS / 2).fit(X))
    with pytest.raises(ValueError, match="lags"):
        War(LEVELS, 1, max_order=1).fit(X).merge(War(LEVELS, 2, max_order=2).fit(X))


@pytest.mark.reference
def test_agrees_with_wri(refdata):
    case = json.loads((refdata / "stats/cases/R13_war_yule_walker.json").read_text())
    expected = case["expected"]
    levels, X = np.array(case["input"]["quantile_grid"]), np.array(case["input"]["quantiles_by_time"])
    one = War(levels, 1, quadrature="spline").fit(X)
    two = War(levels, 2, quadrature="spline").fit(X)
    np.testing.assert_allclose(one.autocovariances_[:3], expected["acvf_lag0_2"], atol=1e-6)
    np.testing.assert_allclose(one.coefficients_, expected["coef_war1"], atol=1e-6)
    np.testing.assert_allclose(two.coefficients_, expected["coef_war2"], atol=1e-6)
    np.testing.assert_allclose(one.mean_, expected["wasserstein_mean"], atol=1e-10)
    np.testing.assert_allclose(
        len(X) * one.coefficient_covariance_.item(), expected["coef_cov_war1"], rtol=5e-2
    )
    forecast = one.forecast().mean[0]
    np.testing.assert_allclose(forecast, expected["forecast_quantile_war1"], atol=1e-6)
    # WRI's CDF is a step function: the least that the quantiles allow.
    lower, upper = cdf_bounds(forecast, levels, np.array(expected["forecast_cdf_grid"]))
    np.testing.assert_allclose(lower, expected["forecast_cdf"], atol=0.02)
    assert (upper >= lower).all()


@pytest.mark.reference
def test_flights_agree_with_their_yule_walker_coefficients(refdata):
    import pandas as pd

    case = json.loads((refdata / "stats/cases/R23_nycflights_dep_delay.json").read_text())
    days = pd.read_csv(refdata / "stats" / case["input"]["dataset"])
    X = days.dropna().filter(regex=r"^q\d+$").to_numpy(float)
    war = War(np.array(case["input"]["p"]), 3).fit(X)
    np.testing.assert_allclose(war.mean_, case["expected"]["barycenter"], atol=1e-8)
    np.testing.assert_allclose(war.autocovariances_[:4], case["expected"]["wasserstein_acvf_0_3"], atol=1e-8)
    np.testing.assert_allclose(war.coefficients_, case["expected"]["war3"], atol=1e-8)
    np.testing.assert_allclose(yule_walker(war.autocovariances_, 1), case["expected"]["war1"], atol=1e-8)
