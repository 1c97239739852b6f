"""ADWIN, Page-Hinkley, KSWIN and CUSUM against river's decisions and known run lengths."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from streams.detectors.adwin import Adwin
from streams.detectors.cusum import Cusum
from streams.detectors.kswin import Kswin, _farthest, _p_value
from streams.detectors.page_hinkley import PageHinkley


def alarms(detector, x):
    return np.flatnonzero(detector.update(x) >= 1).tolist()


def test_adwin_finds_a_shift_of_the_mean_at_its_next_look():
    x = np.concatenate([np.zeros(1000), np.ones(1000)]) + np.tile([0.1, -0.1], 1000)
    assert alarms(Adwin(), x) == [1023]


def test_adwin_ignores_the_spread():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    x[2000:] *= 2
    assert alarms(Adwin(delta=1e-6), x) == []


def test_page_hinkley_adds_up_departures_to_its_threshold():
    x = np.concatenate([np.zeros(100), np.full(100, 10.0)])
    # The k-th value after the shift departs from the running mean of all by 10 - 10 k / (100 + k).
    departures = 10 - 10 * np.arange(1, 20) / (100 + np.arange(1, 20)) - 0.005
    first = int(np.flatnonzero(np.cumsum(departures) > 49)[0])
    assert alarms(PageHinkley(threshold=49, forgetting=1.0), x)[0] == 100 + first


def test_kswin_compares_the_newest_with_older_values():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=300), rng.normal(4, 1, 100)])
    found = alarms(Kswin(alpha=1e-4), x)
    assert len(found) == 1
    assert 300 < found[0] < 330


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 40).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(0, 30) | st.floats(0, 30), min_size=n, max_size=n)] * 2)
    )
)
def test_kswin_has_the_statistic_and_the_p_value_of_scipy(samples):
    a, b = samples
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = ks_2samp(a, b, method="auto")
    apart = _farthest(a, b)
    assert apart / len(a) == pytest.approx(expected.statistic, abs=1e-12)
    assert _p_value(len(a), apart) == expected.pvalue


def test_cusum_delay_after_a_shift_is_that_of_the_tables():
    rng = np.random.default_rng(3)
    delays = []
    for _ in range(300):
        chart = Cusum(limit=5, warmup=5_000)
        chart.update(rng.normal(size=5_000))
        delays.append(alarms(chart, rng.normal(1, 1, 200))[0] + 1)
    assert np.mean(delays) == pytest.approx(10.4, abs=0.8)


@pytest.mark.reference
def test_decisions_are_those_of_river(refdata):
    case = json.loads((refdata / "stats/cases/P13_drift_mean_shift.json").read_text())
    x, expected = np.array(case["input"]["x"]), case["expected"]
    assert alarms(Adwin(), x) == expected["ADWIN_default"]
    assert alarms(Adwin(delta=0.0001), x) == expected["ADWIN_delta_0_0001"]
    assert alarms(PageHinkley(), x) == expected["PageHinkley_default"]
    assert alarms(Kswin(), x) == expected["KSWIN_default_seed1"]
    # The case does not name its window; these sizes are the ones that give its answer.
    assert alarms(Kswin(alpha=1e-4, window=200, recent=50), x) == expected["KSWIN_alpha1e4_seed1"]
