"""Tail exceedance by time of day, its sketch, and the chart of distributions."""

import numpy as np
import pytest
from scipy.stats import norm

from streams.detectors.tail_exceedance import TailExceedance
from streams.detectors.tail_sketch import MAPPING, TailSketch
from streams.detectors.tangent_chart import TangentChart

LEVELS = np.linspace(0.05, 0.95, 19)


def sketch_of(values):
    sketch = TailSketch()
    for code, value in zip(MAPPING.index(values).tolist(), values.tolist(), strict=True):
        sketch.add(code, value)
    return sketch


def test_tail_quantiles_are_those_of_the_data_to_the_sketch_accuracy():
    x = np.random.default_rng(0).lognormal(size=5_000)
    ordered = np.sort(x)
    for share in (0.001, 0.01, 0.1):
        beyond = int(share * 4_999)
        low, high = sketch_of(x).tails(share)
        assert low == pytest.approx(ordered[beyond], rel=2 * MAPPING.alpha)
        assert high == pytest.approx(ordered[-1 - beyond], rel=2 * MAPPING.alpha)
    assert sketch_of(x).tails(0.0) == (ordered[0], ordered[-1])


def test_tail_sketches_merge_in_any_order():
    x = np.random.default_rng(1).normal(size=300)
    merged = sketch_of(x[200:])
    merged.merge(sketch_of(x[:50]))
    merged.merge(sketch_of(x[50:200]))
    assert merged.state() == sketch_of(x).state()
    assert TailSketch.of(merged.state()).state() == merged.state()


def test_score_is_the_distance_beyond_history_in_ranges():
    x = np.concatenate([np.linspace(0, 100, 101), [130.0]])
    scores = TailExceedance(limit=0.1).update(x)
    assert scores[-1] == pytest.approx(3, rel=0.02)


def test_only_a_higher_score_breaks_the_silence_after_one():
    quiet = np.tile([0.0, 10.0], 50)
    x = np.concatenate([quiet, [20, 20, 60, 65], quiet[:40], [100.0]])
    scores = TailExceedance(refractory=30).update(x)
    assert np.flatnonzero(scores).tolist() == [100, 102, 144]


def test_a_value_that_is_normal_at_another_time_of_day_is_found():
    times = 1_700_006_400_000 + np.arange(10 * 96) * 900_000
    busy = (times // 3_600_000 % 24 >= 9) & (times // 3_600_000 % 24 < 18)
    x = np.where(busy, 100.0, 20.0) + np.random.default_rng(2).normal(size=len(times))
    night = np.flatnonzero(~busy)[-10]
    x[night] = 100.0
    assert TailExceedance(slots=24).update(x, times).argmax() == night
    assert TailExceedance().update(x)[night] == 0


def normals(n, seed, mean=0.0, sd=1.0, skew=0.0):
    rng = np.random.default_rng(seed)
    shape = norm.ppf(LEVELS) + skew * (norm.ppf(LEVELS) ** 2 - 1)
    level, spread = rng.normal(mean, 0.3, (n, 1)), rng.normal(sd, 0.05, (n, 1))
    return level + spread * shape + rng.normal(0, 0.02, (n, 19)).cumsum(axis=1) * 0.1


@pytest.mark.parametrize("change", [{"mean": 1.0}, {"sd": 1.3}, {"skew": 0.2}])
def test_chart_finds_changes_of_distributions(change):
    chart = TangentChart(reference=100)
    assert not (chart.update(normals(250, 1)) >= 1).any()
    assert (chart.update(normals(40, 2, **change)) >= 1).any()


def test_chart_refuses_vectors_of_another_length():
    chart = TangentChart(reference=20)
    chart.update(normals(20, 1))
    with pytest.raises(ValueError, match="19 values"):
        chart.update(np.zeros((1, 5)))
