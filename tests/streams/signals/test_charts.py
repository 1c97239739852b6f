import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.signals.charts import Baseline, Sprt, cusum, shewhart

CALM = [5, 3, 6, 4, 5, 7, 4, 5, 6, 3, 5, 4]


def test_baseline_takes_the_deviation_from_moving_ranges():
    found = Baseline.of([1, 4, 2])
    assert found.mean == pytest.approx(7 / 3)
    assert found.sd == pytest.approx(2.5 / (2 / np.sqrt(np.pi)))


def test_one_count_is_no_baseline():
    with pytest.raises(ValueError, match="two counts"):
        Baseline.of([3])


@given(st.lists(st.integers(0, 60), min_size=1, max_size=50))
def test_cusum_is_its_recursion(series):
    baseline, total, expected = Baseline(5.0, 1.5), 0.0, []
    for count in series:
        total = max(0.0, total + count - 5.0 - 0.5 * 1.5)
        expected.append(total)
    assert cusum(series, baseline) == pytest.approx(expected, abs=1e-9)


def test_cusum_finds_a_small_lasting_shift():
    baseline = Baseline.of(CALM)
    assert cusum(CALM, baseline).max() < 5 * baseline.sd
    assert cusum([*CALM, 7, 6, 8, 7, 7, 8, 7], baseline)[-1] > 5 * baseline.sd


def test_sprt_error_rates_hold_in_simulation():
    test, rng = Sprt(2.0, alpha=0.05, beta=0.2), np.random.default_rng(6)
    for risk, wrong in ((1.0, 0.05), (2.0, 0.2)):
        path = test.ratio(rng.poisson(0.2 * risk, (4000, 400)), np.full((4000, 400), 0.2))
        up = np.where((path >= test.upper).any(1), (path >= test.upper).argmax(1), 999)
        down = np.where((path <= test.lower).any(1), (path <= test.lower).argmax(1), 999)
        assert ((up < down) if risk == 1 else (down < up)).mean() <= wrong + 0.015


def test_shewhart_counts_in_deviations():
    assert shewhart([8], Baseline(5.0, 1.5)).tolist() == [2.0]


@pytest.mark.reference
@pytest.mark.parametrize("name", ["step_up", "flat"])
def test_reference_charts(refdata, name):
    case = json.loads((refdata / "pv/expected/spc_mdsstat.json").read_text())[name]
    series = np.array(case["series"], dtype=np.float64)
    # mdsstat estimates the baseline without the period it judges.
    baseline = Baseline.of(series[:-1])
    chart, bar = case["cusum"]["result"], case["xbar"]["result"]
    assert (baseline.mean, baseline.sd) == pytest.approx((chart["mu"], chart["sigma"]), abs=1e-6)
    path = cusum(series, baseline)
    assert path == pytest.approx(chart["statistic"], abs=1e-6)
    assert (path[-1] > 5 * baseline.sd) == chart["signal"]
    assert shewhart(series, baseline)[-1] == pytest.approx(bar["statistic"], abs=1e-6)
    for key, risk, periods in (("sprt_rr2", 2.0, 1), ("sprt_rr1.5_obs5", 1.5, 5)):
        test, expected = Sprt(risk), case[key]["result"]
        usual = series[:-periods].mean()
        found = test.ratio(series[-periods:], np.full(periods, usual))[-1]
        assert found == pytest.approx(expected["statistic"], abs=1e-6)
        assert (test.lower, test.upper) == pytest.approx((expected["lcl"], expected["ucl"]), abs=1e-6)
        assert (found >= test.upper) == expected["signal"]
