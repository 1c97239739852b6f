import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.signals.maxsprt import (
    SLACK,
    Surveillance,
    critical_value,
    horizon_for_power,
    performance,
    poisson_llr,
    signal_probability,
)


def test_ratio_is_zero_at_and_below_expectation():
    assert poisson_llr([5, 8], [5.0, 10.0]).tolist() == [0, 0]
    assert poisson_llr(8, 4.0) == pytest.approx(4 - 8 + 8 * np.log(2), rel=1e-14)


def test_nothing_expected_is_refused():
    with pytest.raises(ValueError, match="positive"):
        poisson_llr(1, 0.0)


# Kulldorff et al. 2011, table 1, and Kulldorff and Silva 2015, tables of minimum events and delayed start.
@pytest.mark.parametrize(
    ("horizon", "minimum", "delay", "expected"),
    [
        (1, 1, 0, 2.85393700),
        (10, 1, 0, 3.46795158),
        (10, 4, 0, 2.92156133),
        (200, 1, 0, 4.07482766),
        (5, 10, 0, None),
        (10, 1, 1, 2.799333),
        (10, 1, 3, 2.484834),
        (10, 1, 6, 2.087405),
        (60, 1, 8, 2.978063),
        (100, 1, 4, 3.321971),
    ],
)
def test_published_critical_values(horizon, minimum, delay, expected):
    plan = Surveillance(horizon, minimum, delay)
    if expected is None:
        with pytest.raises(ValueError, match="cannot be spent"):
            critical_value(plan)
    else:
        assert critical_value(plan) == pytest.approx(expected, abs=1e-6)


# At the first look whole counts make the probability jump across alpha; the tables round such a ratio up.
@pytest.mark.parametrize(
    ("horizon", "delay", "expected"),
    [(10, 2, 2.591675), (10, 4, 2.298373), (5, 1, 2.545178), (20, 3, 2.846635)],
)
def test_critical_value_at_a_jump_is_the_ratio_not_to_be_exceeded(horizon, delay, expected):
    plan = Surveillance(horizon, delay=delay)
    found = critical_value(plan)
    assert found == pytest.approx(expected, abs=2e-6)
    assert signal_probability(plan, found) < 0.05 < signal_probability(plan, found - 3 * SLACK)


@pytest.mark.parametrize(("horizon", "minimum", "delay"), [(0, 1, 0), (5, 0, 0), (5, 1, 5), (5, 1, -1)])
def test_plans_that_cannot_be_are_refused(horizon, minimum, delay):
    with pytest.raises(ValueError, match="horizon"):
        Surveillance(horizon, minimum, delay)


@settings(deadline=None, max_examples=40)
@given(st.floats(2, 40), st.integers(1, 4), st.floats(0, 0.6), st.floats(0.01, 0.3))
def test_false_signals_never_exceed_alpha(horizon, minimum, late, alpha):
    plan = Surveillance(horizon, minimum, late * horizon)
    try:
        found = critical_value(plan, alpha)
    except ValueError:
        return
    assert signal_probability(plan, found) <= alpha + 1e-9
    if not plan.delay:
        assert signal_probability(plan, found) == pytest.approx(alpha, abs=1e-9)


@pytest.mark.parametrize(("minimum", "delay", "risk"), [(1, 0, 1.0), (4, 0, 2.0), (1, 2, 1.5), (3, 4, 2.0)])
def test_performance_agrees_with_simulated_histories(minimum, delay, risk):
    plan = Surveillance(10, minimum, delay)
    critical = critical_value(plan)
    found = performance(plan, critical, risk)
    runs = 40_000
    arrivals = np.cumsum(np.random.default_rng(11).exponential(1 / risk, (runs, 60)), axis=1)
    n = np.arange(1, 61)
    above = (poisson_llr(n, arrivals) > critical) & (n >= minimum) & (arrivals >= delay) & (arrivals <= 10)
    time = np.where(above.any(1), np.where(above, arrivals, np.inf).min(1), np.inf)
    if delay:
        count = (arrivals <= delay).sum(1)
        time[(poisson_llr(count, float(delay)) > critical) & (count >= minimum)] = delay
    signalled = np.isfinite(time)
    assert found.power == pytest.approx(signalled.mean(), abs=4 * np.sqrt(0.25 / runs))
    assert found.time_to_signal == pytest.approx(time[signalled].mean(), abs=0.15)
    assert found.length == pytest.approx(np.minimum(time, 10).mean(), abs=0.05)
    assert signal_probability(plan, critical, risk) == pytest.approx(found.power, abs=1e-12)


def test_horizon_for_power_reaches_it():
    horizon, critical = horizon_for_power(3.0, 0.8)
    assert horizon == pytest.approx(3.88359, abs=1e-4)
    assert signal_probability(Surveillance(horizon), critical, 3.0) == pytest.approx(0.8, abs=1e-5)


@pytest.fixture(scope="module")
def sequential(refdata):
    return json.loads((refdata / "pv/expected/sequential_maxsprt.json").read_text())


@pytest.mark.reference
def test_reference_critical_values(sequential):
    rows = sequential["cv_poisson_continuous"]
    assert len(rows) == 66
    for row in rows:
        assert critical_value(Surveillance(row["T"], row["M"], row["D"]), row["alpha"]) == pytest.approx(
            row["cv"], abs=1e-5
        ), row


@pytest.mark.reference
def test_reference_performance(sequential):
    for row in sequential["performance_poisson"]:
        found = performance(Surveillance(row["T"]), row["cv"], row["RR"])
        assert [found.power, found.time_to_signal, found.length] == pytest.approx(
            [row["power"], row["expected_time_to_signal"], row["expected_sample_size"]], rel=1e-8
        )


@pytest.mark.reference
def test_reference_horizons(sequential):
    for row in sequential["samplesize_poisson"]:
        (_, _, horizon, critical, _, power) = row["result"][0]
        plan = Surveillance(horizon, row["M"])
        assert signal_probability(plan, critical, row["RR"]) == pytest.approx(power, abs=1e-6)
        # Sequential stops a little above the power asked for; the shortest horizon is not longer than its.
        found, _ = horizon_for_power(row["RR"], row["power"], row["alpha"], row["M"])
        assert horizon * 0.999 < found <= horizon


@pytest.mark.reference
def test_reference_published_trace(refdata):
    trace = json.loads((refdata / "pv/expected/maxsprt_published_trace.json").read_text())["near_real_time"]
    found = poisson_llr([row["obs"] for row in trace], [row["exp"] for row in trace])
    assert found == pytest.approx([row["llr"] for row in trace], abs=1e-7)
    assert found == pytest.approx([row["llr_published"] for row in trace], abs=0.02)
