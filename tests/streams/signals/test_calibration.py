import json

import numpy as np
import pytest
from scipy import stats

from streams.signals.calibration import Null, calibrated_critical_value, calibrated_p, fit_null
from streams.signals.maxsprt_binomial import BinomialLooks
from streams.signals.maxsprt_group import Looks


def test_null_of_estimates_without_error_of_their_own():
    x = np.array([0.1, 0.4, 0.7, 1.0, 0.3])
    null = fit_null(x, np.full(5, 1e-6))
    assert null.mean == pytest.approx(x.mean(), abs=1e-6)
    assert null.sd == pytest.approx(x.std(), abs=1e-6)


def test_null_without_spread_is_the_weighted_mean():
    null = fit_null([0.2, 0.21, 0.19], [0.5, 0.4, 0.6])
    assert null.sd < 1e-4
    weights = 1 / np.square([0.5, 0.4, 0.6])
    assert null.mean == pytest.approx(weights @ [0.2, 0.21, 0.19] / weights.sum(), rel=1e-6)


def test_null_is_recovered():
    rng = np.random.default_rng(8)
    se = rng.uniform(0.05, 0.3, 4000)
    null = fit_null(rng.normal(0.3, 0.2, 4000) + rng.normal(0, se), se)
    assert (null.mean, null.sd) == (pytest.approx(0.3, abs=0.02), pytest.approx(0.2, abs=0.02))


def test_null_leaves_out_what_is_not_finite_and_refuses_too_few():
    assert fit_null([0.1, 0.3, np.nan], [0.1, 0.1, 0.1]) == fit_null([0.1, 0.3], [0.1, 0.1])
    with pytest.raises(ValueError, match="two negative controls"):
        fit_null([0.1, np.inf], [0.1, 0.1])


def test_p_values_with_and_without_the_null():
    assert calibrated_p(0.5, 0.2) == pytest.approx(2 * stats.norm.sf(2.5), rel=1e-12)
    assert calibrated_p(0.5, 0.2, Null(0.5, 0.1)) == 1


def test_calibrated_p_values_of_negative_controls_are_uniform():
    rng = np.random.default_rng(4)
    se = rng.uniform(0.1, 0.4, 20_000)
    estimates = rng.normal(0.4, 0.3, 20_000) + rng.normal(0, se)
    assert (calibrated_p(estimates, se, Null(0.4, 0.3)) < 0.05).mean() == pytest.approx(0.05, abs=0.006)
    assert (calibrated_p(estimates, se) < 0.05).mean() > 0.4


def test_critical_value_without_bias_is_the_plain_one():
    plan = Looks((5.0, 6.0, 6.0, 5.0, 8.0))
    assert calibrated_critical_value(plan, Null()) == plan.critical_value()


@pytest.mark.parametrize("plan", [Looks((2.0,) * 6), BinomialLooks((5,) * 8, 1.0)])
def test_calibrated_critical_value_spends_alpha_on_biased_nulls(plan):
    null = Null(0.3, 0.25)
    critical = calibrated_critical_value(plan, null)
    biases = np.random.default_rng(1).normal(null.mean, null.sd, 3000)
    assert plan.signal_probability(critical, biases).mean() == pytest.approx(0.045, abs=0.008)
    assert plan.signal_probability(plan.critical_value(), biases).mean() > 0.12


@pytest.fixture(scope="module")
def published(refdata):
    return json.loads((refdata / "pv/expected/empirical_calibration.json").read_text())


@pytest.mark.reference
def test_reference_null_and_p_values(published):
    rows, given = published["sccs"]["rows"], Null(**published["sccs"]["null"])
    x, se = (np.array([row[name] for row in rows]) for name in ("logRr", "seLogRr"))
    controls = np.array([int(row["groundTruth"]) == 0 for row in rows])
    null = fit_null(x[controls], se[controls])
    assert (null.mean, null.sd) == (pytest.approx(given.mean, abs=1e-4), pytest.approx(given.sd, abs=1e-4))

    def log_likelihood(n):
        return stats.norm.logpdf(x[controls], n.mean, np.hypot(n.sd, se[controls])).sum()

    # R's optimiser stops early: ours is at least as likely.
    assert log_likelihood(null) >= log_likelihood(given)
    assert calibrated_p(x, se) == pytest.approx([row["p_traditional"] for row in rows], rel=1e-9)
    assert calibrated_p(x, se, given) == pytest.approx([row["p_calibrated"] for row in rows], rel=1e-9)


@pytest.mark.reference
def test_reference_critical_values(published):
    for row in published["cv_poisson_montecarlo"]:
        plan = Looks(tuple(row["groupSizes"]), row["minimumEvents"])
        found = calibrated_critical_value(plan, Null(row["nullMean"], row["nullSd"]), row["alpha"])
        assert found == pytest.approx(row["cv"], abs=0.02)
    for row in published["cv_binomial_montecarlo"]:
        plan = BinomialLooks(tuple(row["groupSizes"]), row["z"])
        found = calibrated_critical_value(plan, Null(row["nullMean"], row["nullSd"]), row["alpha"])
        assert found == pytest.approx(row["cv"], abs=0.02)
