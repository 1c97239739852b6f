"""The compiled distances against the same in plain numpy, and the laws they obey to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.distributions import power_kernel
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS, QuantileFunction
from streams.distributions.sources import of_law, of_sample, of_sketch
from streams.distributions.wasserstein import wasserstein
from streams.sketches.sketch import Sketch

VALUES = st.lists(st.floats(-1e5, 1e5) | st.sampled_from([0.0, 1.0, -1.0, 1e-12]), min_size=1, max_size=30)
ORDERS = st.sampled_from([1.0, 1.5, 2.0, 3.0])
KINDS = st.sampled_from(["sample", "sketch", "twice"])


def function(values: list[float], kind: str) -> QuantileFunction:
    if kind == "sample":
        return of_sample(values)
    sketch = Sketch()
    sketch.update(values)
    if kind == "twice":  # Sums of weights round to levels that the others have as well, or nearly.
        return of_sample(values, np.linspace(1, 1 / 3, len(values)))
    return of_sketch(sketch)


def mean_power(a: Floats, b: Floats, order: float) -> Floats:
    """Return the mean of |d|^order along lines from a to b, by 64 nodes on each side of where they cross zero."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    cross = np.where(a * b < 0, a / np.where(a == b, 1.0, a - b), 0.5)
    total = np.zeros(len(a))
    for begin, width in ((np.zeros(len(a)), cross), (cross, 1 - cross)):
        at = begin[:, None] + width[:, None] * (nodes + 1) / 2
        total += (np.abs(a[:, None] + (b - a)[:, None] * at) ** order @ weights) / 2 * width
    return total


def oracle(f: QuantileFunction, g: QuantileFunction, order: float) -> tuple[float, float]:
    """Return the integral of |f - g|^order on all pieces of both, and the largest difference at their ends."""
    levels = np.union1d(f.breaks, g.breaks)
    middle, widths = (levels[1:] + levels[:-1]) / 2, np.diff(levels)
    ends = []
    for p in (levels[:-1], levels[1:]):
        difference = np.zeros(len(middle))
        for q, sign in ((f, 1), (g, -1)):
            j = np.searchsorted(q.breaks, middle) - 1
            share = (p - q.breaks[j]) / np.diff(q.breaks)[j]
            difference += sign * (q.start[j] + (q.end[j] - q.start[j]) * share)
        ends.append(difference)
    largest = max(np.abs(end).max() for end in ends)
    return float(mean_power(*ends, order) @ widths), float(largest)


@settings(deadline=None, max_examples=150)
@given(VALUES, VALUES, KINDS, KINDS, ORDERS)
def test_the_compiled_distance_is_that_of_numpy(
    a: list[float], b: list[float], one: str, other: str, order: float
) -> None:
    f, g = function(a, one), function(b, other)
    total, largest = oracle(f, g, order)
    args = (f.breaks, f.start, f.end, g.breaks, g.start, g.end, 4 * EPS)
    found, most = power_kernel.distance(*args, order)
    # Levels that only rounding tells apart may be one level or two.
    scale = (f.size + g.size) ** order
    assert found == pytest.approx(total, rel=1e-9, abs=1e-12 * scale)
    assert most >= largest * (1 - 1e-9) - 1e-12 * (f.size + g.size)
    assert most <= (f.size + g.size) * (1 + 1e-12)


@settings(deadline=None, max_examples=100)
@given(VALUES, KINDS, ORDERS)
def test_the_compiled_error_is_that_of_numpy(a: list[float], kind: str, order: float) -> None:
    f = function(a, kind)
    below = mean_power(f.start - f.low, f.end - f.low, order)
    above = mean_power(f.high - f.start, f.high - f.end, order)
    found = power_kernel.error(f.breaks, f.start, f.end, f.low, f.high, order)
    assert found == pytest.approx(float(np.maximum(below, above) @ f.widths), rel=1e-9, abs=1e-300)


@settings(deadline=None, max_examples=100)
@given(VALUES, VALUES, KINDS, ORDERS)
def test_a_distance_is_the_same_both_ways_to_the_last_bit(
    a: list[float], b: list[float], kind: str, order: float
) -> None:
    f, g = function(a, kind), function(b, "sketch")
    assert wasserstein(f, g, order) == wasserstein(g, f, order)


def test_steps_that_rounding_puts_at_one_level_are_within_the_bound() -> None:
    """Both step from 0 to 1 at about 0.1; were the levels apart by a rounding, the distance would be its root."""
    level = 0.1
    f = QuantileFunction(np.array([0.0, level, 1.0]), *(np.array([0.0, 1.0]),) * 4)
    for other in (level, np.nextafter(level, 1), np.nextafter(level, 0)):
        g = QuantileFunction(np.array([0.0, other, 1.0]), *(np.array([0.0, 1.0]),) * 4)
        assert wasserstein(f, g).upper >= np.sqrt(np.spacing(level))
    h = QuantileFunction(np.array([0.0, 1.0, 1.0]), *(np.array([0.0, 5.0]),) * 4)
    assert wasserstein(f, h).value == pytest.approx(np.sqrt(0.9))
    assert wasserstein(f, h).upper >= np.sqrt(0.9 + 25 * EPS / 2)


def test_a_distance_of_wide_sketches_is_that_of_numpy() -> None:
    rng = np.random.default_rng(3)
    f, g = (function((rng.lognormal(shift, 1, 20_000)).tolist(), "sketch") for shift in (0.0, 0.1))
    assert wasserstein(f, g).value == pytest.approx(np.sqrt(oracle(f, g, 2.0)[0]), rel=1e-12)
    normal = of_law(lambda p: np.sqrt(2) * np.clip(p - 0.5, -0.4, 0.4))
    assert wasserstein(f, normal, 1.0).value == pytest.approx(oracle(f, normal, 1.0)[0], rel=1e-12)
