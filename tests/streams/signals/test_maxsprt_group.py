import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streams.signals.maxsprt import SLACK, poisson_llr
from streams.signals.maxsprt_binomial import BinomialLooks, binomial_llr
from streams.signals.maxsprt_group import Looks

NO_EFFECT = np.zeros(1)


def test_twelve_equal_looks():
    plan = Looks((1.0,) * 12)
    found = plan.critical_value()
    # Four events at the first look, at 1 expected.
    assert found == pytest.approx(1 - 4 + 4 * np.log(4), abs=1e-9)
    assert plan.signal_probability(found, NO_EFFECT)[0] <= 0.05
    assert plan.signal_probability(found - 2 * SLACK, NO_EFFECT)[0] > 0.05


def test_one_look_is_a_poisson_test():
    plan = Looks((6.0,))
    first = int(plan.boundary(plan.critical_value())[0])
    assert stats.poisson.sf(first - 1, 6.0) <= 0.05 < stats.poisson.sf(first - 2, 6.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.05, 30), min_size=1, max_size=6), st.floats(0, 12), st.integers(1, 5))
def test_boundary_is_the_first_count_above_the_critical_value(groups, critical, minimum):
    plan = Looks(tuple(groups), minimum)
    first = plan.boundary(critical)
    assert (first >= minimum).all()
    assert (poisson_llr(first, plan.totals) > critical + SLACK).all()
    below = first - 1
    assert ((poisson_llr(below, plan.totals) <= critical + SLACK) | (below < minimum)).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.floats(0.005, 0.2), st.integers(1, 4))
def test_no_smaller_attainable_ratio_spends_at_most_alpha(groups, alpha, minimum):
    plan = Looks(tuple(groups), minimum)
    found = plan.critical_value(alpha)
    assert plan.signal_probability(found, NO_EFFECT)[0] <= alpha
    if found > 0:
        assert plan.signal_probability(found - 2 * SLACK, NO_EFFECT)[0] > alpha


def test_performance_agrees_with_simulated_looks():
    plan, runs = Looks((2.0, 3.0, 1.0, 4.0)), 60_000
    critical = plan.critical_value()
    found = plan.performance(critical, 1.8)
    counts = np.cumsum(np.random.default_rng(3).poisson(1.8 * np.array(plan.groups), (runs, 4)), axis=1)
    above = poisson_llr(counts, plan.totals) > critical
    power, at = above.any(1).mean(), plan.totals[above.argmax(1)][above.any(1)].mean()
    assert found.power == pytest.approx(power, abs=0.01)
    assert found.time_to_signal == pytest.approx(at, abs=0.06)


def test_large_bias_is_followed_as_far_as_needed():
    plan = Looks((50.0,) * 4)
    critical = 300.0
    assert plan.signal_probability(critical, np.log([1.0, 10.0])) == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize("groups", [(), (1.0, 0.0), (-1.0,)])
def test_looks_without_expectation_are_refused(groups):
    with pytest.raises(ValueError, match="positive expected"):
        Looks(groups)


def test_binomial_ratio_of_all_exposed():
    assert binomial_llr(4, 4, 1.0) == pytest.approx(4 * np.log(2), rel=1e-14)
    assert binomial_llr([0, 2], [0, 4], 1.0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("events", "ratio", "minimum", "critical", "error"),
    [
        (50, 1.0, 1, 3.4657359, 0.038804600532),
        (20, 2.0, 3, 3.2958369, 0.030732440173),
        (10, 3.5, 3, 2.5142062, 0.037121563342),
    ],
)
def test_binomial_critical_values(events, ratio, minimum, critical, error):
    plan = BinomialLooks.continuous(events, ratio, minimum)
    found = plan.critical_value()
    assert found == pytest.approx(critical, abs=1e-6)
    assert plan.signal_probability(found, NO_EFFECT)[0] == pytest.approx(error, rel=1e-9)


def test_binomial_false_signals_are_those_of_enumerated_paths():
    plan, critical = BinomialLooks((2, 1, 3), 1.5), 1.4
    null, total = 1 / 2.5, 0.0
    for path in range(2**6):
        exposed = [path >> i & 1 for i in range(6)]
        cases = np.cumsum(exposed)[[1, 2, 5]]
        if (binomial_llr(cases, [2, 3, 6], 1.5) > critical).any():
            total += null ** sum(exposed) * (1 - null) ** (6 - sum(exposed))
    assert plan.signal_probability(critical, NO_EFFECT)[0] == pytest.approx(total, rel=1e-12)


def test_too_few_events_for_any_signal_are_refused():
    with pytest.raises(ValueError, match="plan for more"):
        BinomialLooks.continuous(4, 1.0).critical_value()


@pytest.mark.parametrize(("groups", "ratio"), [((), 1.0), ((0,), 1.0), ((5,), 0.0)])
def test_binomial_plans_that_cannot_be_are_refused(groups, ratio):
    with pytest.raises(ValueError, match="whole groups"):
        BinomialLooks(groups, ratio)


@pytest.fixture(scope="module")
def sequential(refdata):
    return json.loads((refdata / "pv/expected/sequential_maxsprt.json").read_text())


@pytest.mark.reference
def test_reference_group_critical_values(sequential):
    for row in sequential["cv_poisson_group"]:
        assert Looks(tuple(row["groups"])).critical_value(row["alpha"]) == pytest.approx(row["cv"], abs=1e-5)


@pytest.mark.reference
def test_reference_binomial_critical_values(sequential):
    rows = sequential["cv_binomial"]
    assert len(rows) == 27
    for row in rows:
        plan = BinomialLooks.continuous(row["N"], row["z"], row["M"])
        found = plan.critical_value(row["alpha"])
        # Printed rounded up to five digits.
        assert found == pytest.approx(row["result"]["cv"], abs=1e-5), row
        error = plan.signal_probability(found, NO_EFFECT)[0]
        assert error == pytest.approx(row["result"]["Type_I_Error"], rel=1e-9), row
