import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from streams.signals.onset import fit_weibull, kolmogorov_smirnov

DAYS = [1, 1, 8, 37, 41, 62, 86, 174, 202]


def test_weibull_of_published_times():
    found = fit_weibull(DAYS)
    assert [found.shape, found.scale, found.shape_lower, found.shape_upper] == pytest.approx(
        [0.71115745007, 56.6325452666, 0.41120480028, 1.2299100556], rel=1e-8
    )
    assert not found.signals


def test_early_failures_signal():
    times = stats.weibull_min(0.4, scale=30).ppf(np.linspace(0.01, 0.99, 60))
    assert fit_weibull(times).signals


def test_fit_is_a_maximum():
    found = fit_weibull(DAYS)

    def likelihood(shape, scale):
        return stats.weibull_min.logpdf(DAYS, shape, scale=scale).sum()

    best = likelihood(found.shape, found.scale)
    for a, b in ((1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)):
        assert likelihood(found.shape * a, found.scale * b) < best


def test_scale_follows_the_unit_of_time():
    days, hours = fit_weibull(DAYS), fit_weibull(np.array(DAYS) * 24)
    assert (hours.shape, hours.scale) == (pytest.approx(days.shape), pytest.approx(24 * days.scale))


def test_a_time_of_zero_is_half_a_day():
    assert fit_weibull([0, 3, 9]) == fit_weibull([0.5, 3, 9])


@pytest.mark.parametrize("days", [[3, 3, 3], [5], [], [-1, 4]])
def test_times_without_a_fit_are_refused(days):
    with pytest.raises(ValueError, match="two distinct times"):
        fit_weibull(days)


def test_smirnov_agrees_with_scipy():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 30, 25), rng.integers(5, 60, 60)
    d, p = kolmogorov_smirnov(x, y)
    assert d == pytest.approx(stats.ks_2samp(x, y).statistic, rel=1e-12)
    assert p == pytest.approx(stats.kstwobign.sf(d * np.sqrt(25 * 60 / 85)), rel=1e-10)
    assert kolmogorov_smirnov(x, x) == (0, 1)


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="at least one time"):
        kolmogorov_smirnov([], [1])


def onsets(refdata):
    """Give times to onset of suspect drugs by report and substance: days within a year, the first start counts."""
    therapy = pd.read_csv(refdata / "pv/raw/diana_sample_Ther.csv")
    drugs = pd.read_csv(refdata / "pv/raw/diana_sample_Drug.csv")
    suspect = drugs[drugs["role_cod"].isin(["PS", "SS"])]
    rows = therapy.merge(suspect, on=["primaryid", "drug_seq"])
    year = rows[rows["time_to_onset"].between(0, 365)]
    return year.groupby(["primaryid", "substance"], as_index=False)["time_to_onset"].max()


@pytest.mark.reference
def test_reference_times_to_onset(refdata):
    published = json.loads((refdata / "pv/expected/time_to_onset_diana.json").read_text())
    rows = onsets(refdata)
    assert len(rows) == published["comparator_n"]
    for result in published["results"]:
        mine = rows["substance"] == result["substance"]
        days = rows["time_to_onset"][mine].to_numpy()
        assert sorted(days) == result["tto_days"]
        found = fit_weibull(days)
        assert [found.shape, found.scale, found.shape_lower, found.shape_upper] == pytest.approx(
            [result[f"weibull_{name}"] for name in ("shape", "scale", "shape_lo95", "shape_hi95")], rel=1e-4
        )
        others = rows["time_to_onset"][~mine].to_numpy()
        d, p = kolmogorov_smirnov(days, others)
        assert (d, p) == pytest.approx((result["ks_D"], result["ks_p_asymptotic"]), abs=1e-8)
