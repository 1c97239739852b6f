"""Distances of sketches within their bounds, and the rule that judges them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from streams.rules.base import Samples
from streams.rules.shift import QuantileShift, quantile_distance, w1
from streams.sketches.mapping import LogMapping
from streams.windows import Window

MAPPING = LogMapping(0.01)
values = st.lists(
    st.floats(-1e6, 1e6, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=1, max_size=30
)


def sketch(numbers):
    return np.unique(MAPPING.index(np.array(numbers, float)), return_counts=True)


@settings(deadline=None)
@given(values, values)
def test_w1_is_within_its_bound_of_the_exact_distance(x, y):
    distance, bound = w1(MAPPING, sketch(x), sketch(y))
    assert abs(distance - wasserstein_distance(x, y)) <= bound * (1 + 1e-9)
    assert bound <= 0.0205 * (np.abs(x).mean() + np.abs(y).mean()) + 1e-8


@settings(deadline=None)
@given(values, values, st.sampled_from([0.05, 0.5, 0.95]))
def test_quantile_distances_are_within_their_bound(x, y, level):
    distance, bound = quantile_distance(MAPPING, sketch(x), sketch(y), np.array([level]))
    exact = [np.quantile(side, level, method="inverted_cdf") for side in (x, y)]
    assert abs(distance - abs(exact[0] - exact[1])) <= bound * (1 + 1e-9)


def judged(declared, rule, windows):
    found = []
    for i, numbers in enumerate(windows):
        window = Window(0)
        data = np.array(numbers, float)
        window.update(np.zeros(len(data), np.int32), data, np.arange(len(data)), MAPPING.index(data))
        closed, one = window.closed(), np.array([i])
        samples = Samples(1, closed.group, one * 1_000, closed.mean, one * 0, one * 1_000)
        found += rule.update_sketches(samples, closed, MAPPING)
        state = rule.snapshot()
        rule = declared.build()
        rule.restore(state)
    return found


@pytest.mark.parametrize("measure", ["w1", "quantile"])
def test_a_distribution_that_moves_is_seen_though_its_mean_stays(measure):
    rng = np.random.default_rng(1)
    declared = QuantileShift("shape", raise_at=2.0, clear_at=1.5, measure=measure, reference_windows=5)
    calm = [rng.normal(20, 1, 200) for _ in range(20)]
    wide = [rng.normal(20, 9, 200) for _ in range(3)]
    opened, closed = judged(declared, declared.build(), [*calm, *wide, *calm[:3]])
    assert (opened.state, opened.time, closed.state, closed.time) == ("open", 20_000, "close", 23_000)
    assert opened.value - opened.evidence["bound"] > 2.0
    assert opened.evidence["reference_windows"] == 5


def test_a_difference_within_the_sketches_error_never_opens():
    declared = QuantileShift("shape", raise_at=0.0, reference_windows=1)
    assert judged(declared, declared.build(), [[100.0] * 100, [100.9] * 100]) == []


def test_the_reference_waits_for_enough_values():
    declared = QuantileShift("shape", raise_at=1.0, reference_windows=1, reference_count=10)
    windows = [[1.0] * 4, [50.0] * 4, [50.0] * 4, [900.0]]
    assert [t.time for t in judged(declared, declared.build(), windows)] == [3_000]


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="in order"):
        QuantileShift("s", raise_at=1.0, clear_at=2.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        QuantileShift("s", raise_at=1.0, levels=(0.0,))
