import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from streams.signals.accrual import ReportingDelay, RiskWindow, expected_by, settled
from streams.signals.alpha_spending import SpendingMonitor, spending
from streams.signals.evalues import anytime_p, binomial_log_e, poisson_log_e

SHAPES = st.sampled_from(["power", "pocock", "obrien-fleming"])


@given(SHAPES, st.floats(0.001, 0.2))
def test_spending_rises_from_nothing_to_alpha(shape, alpha):
    spend = spending(shape, alpha)
    spent = [spend(t) for t in np.linspace(0, 1, 30)]
    assert spent[0] == 0
    assert spent[-1] == pytest.approx(alpha, rel=1e-9)
    assert (np.diff(spent) >= 0).all()
    assert spend(3.0) == spend(1.0)


def test_first_look_is_a_poisson_test_at_what_may_be_spent():
    monitor = SpendingMonitor(10.0, spending("power", 0.05, rho=1.0))
    first = monitor.look(4.0)
    assert stats.poisson.sf(first - 1, 4.0) <= 0.02 < stats.poisson.sf(first - 2, 4.0)
    assert monitor.spent == pytest.approx(stats.poisson.sf(first - 1, 4.0), rel=1e-10)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 6), min_size=1, max_size=8), SHAPES, st.integers(1, 4))
def test_never_more_is_spent_than_planned(steps, shape, minimum):
    horizon = max(sum(steps), 0.1)
    spend = spending(shape, 0.05)
    monitor, total = SpendingMonitor(horizon, spend, minimum), 0.0
    for step in steps:
        total += step
        first = monitor.look(total)
        assert monitor.spent <= spend(total / horizon) + 1e-12
        assert first is None or first >= minimum


def test_spending_holds_in_simulation():
    groups = [1.0, 0.5, 3.0, 2.0, 3.5]
    monitor = SpendingMonitor(10.0, spending("pocock", 0.05))
    first = [monitor.look(total) or 10**9 for total in np.cumsum(groups)]
    counts = np.cumsum(np.random.default_rng(2).poisson(groups, (100_000, 5)), axis=1)
    signals = (counts >= first).any(axis=1).mean()
    assert signals == pytest.approx(monitor.spent, abs=0.0022)
    assert 0.03 < monitor.spent <= 0.05


def test_expected_counts_cannot_fall():
    monitor = SpendingMonitor(10.0, spending("power"))
    monitor.look(3.0)
    with pytest.raises(ValueError, match="cannot fall"):
        monitor.look(2.0)


@pytest.mark.parametrize(
    ("n", "mu", "shape", "rate"), [(0, 2.0, 1, 1), (9, 4.0, 1, 1), (40, 30.0, 2, 0.5), (3, 9.0, 0.5, 3)]
)
def test_poisson_e_value_is_the_mixture_over_raised_risks(n, mu, shape, rate):
    risk = np.linspace(1, 60, 600_001)
    weighted = np.exp(n * np.log(risk) - mu * (risk - 1)) * stats.gamma.pdf(risk, shape, scale=1 / rate)
    expected = np.log(integrate.simpson(weighted, x=risk)) - stats.gamma.logsf(1, shape, scale=1 / rate)
    assert poisson_log_e(n, mu, shape, rate) == pytest.approx(expected, rel=1e-6)


def test_poisson_e_values_rarely_become_large_without_effect():
    groups = np.full(60, 0.4)
    counts = np.cumsum(np.random.default_rng(7).poisson(groups, (20_000, 60)), axis=1)
    p = anytime_p(poisson_log_e(counts, np.cumsum(groups)))
    assert (p[:, -1] <= 0.05).mean() <= 0.05
    assert (p[:, -1] <= 0.2).mean() <= 0.2
    raised = np.cumsum(np.random.default_rng(8).poisson(2.5 * groups, (2000, 60)), axis=1)
    assert (anytime_p(poisson_log_e(raised, np.cumsum(groups)))[:, -1] <= 0.05).mean() > 0.9


def test_poisson_e_value_has_expectation_one():
    n = np.arange(120)
    assert stats.poisson.pmf(n, 7.0) @ np.exp(poisson_log_e(n, 7.0)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 4.0])
def test_binomial_e_value_has_expectation_one(ratio):
    k = np.arange(31)
    chance = stats.binom.pmf(k, 30, 1 / (1 + ratio))
    assert chance @ np.exp(binomial_log_e(k, 30, ratio)) == pytest.approx(1, rel=1e-9)


def test_e_value_of_far_fewer_than_expected_is_tiny_but_finite():
    assert -2000 < poisson_log_e(0, 1500.0) < -5
    assert poisson_log_e(0, 0.0) == pytest.approx(0)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="negative"):
        poisson_log_e(-1, 1.0)
    with pytest.raises(ValueError, match="between none and all"):
        binomial_log_e(5, 4, 1.0)


def test_p_value_keeps_the_strongest_evidence():
    assert anytime_p([-1.0, np.log(4), 0.0]).tolist() == pytest.approx([1, 0.25, 0.25])


WINDOW = RiskWindow(1, 42)


def test_half_elapsed_window_expects_half():
    found = expected_by([0, 0, 0, 0], 0.01, WINDOW, 21)
    assert found == pytest.approx(0.21)
    assert expected_by([0], 0.01, WINDOW, 400)[0] == pytest.approx(0.42)
    assert expected_by([0, 5], 0.01, WINDOW, 0).tolist() == [0, 0]


def test_slow_reports_lower_what_is_expected_by_now():
    delay = ReportingDelay((0.2, 0.5, 1.0))
    # Days 1 to 3 of the window have ages 2, 1 and 0.
    assert expected_by([0], 0.1, WINDOW, 3, delay)[0] == pytest.approx(0.1 * (1.0 + 0.5 + 0.2))


@settings(deadline=None)
@given(
    st.integers(0, 30),
    st.integers(0, 20),
    st.integers(0, 80),
    st.lists(st.floats(0, 1), min_size=1, max_size=15),
)
def test_expected_is_the_sum_over_days(first, length, today, shares):
    window, delay = RiskWindow(first, first + length), ReportingDelay(tuple(sorted(shares)))
    exposed = [0, 3, 17, 60]
    slow = [
        sum(0.02 * float(delay.by(today - x - day)) for day in range(first, first + length + 1))
        for x in exposed
    ]
    assert expected_by(exposed, 0.02, window, today, delay) == pytest.approx(slow, abs=1e-12)


def test_exposures_are_settled_when_window_and_reports_are_complete():
    delay = ReportingDelay((0.5, 0.8, 0.9, 0.9))
    assert delay.complete_after == 2
    assert settled([0, 1], RiskWindow(1, 10), 12, delay).tolist() == [True, False]


def test_delays_are_learnt_from_what_was_seen():
    assert ReportingDelay.of_delays([0, 0, 1, 5], 2).arrived == (0.5, 0.75, 1.0)


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (0.2, 1.1), (-0.1,)])
def test_shares_that_cannot_be_are_refused(shares):
    with pytest.raises(ValueError, match="must rise"):
        ReportingDelay(shares)


def test_a_window_ends_after_it_begins():
    with pytest.raises(ValueError, match="risk window"):
        RiskWindow(5, 4)
