from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sketches.collapse import collapsed_alpha
from streams.sketches.errors import (
    EmptySketchError,
    InfiniteValueError,
    MappingMismatchError,
    NeverAddedError,
    SketchError,
)
from streams.sketches.fixed_point import Resolution, exact_sums
from streams.sketches.lookup import BLOCK, BinTable
from streams.sketches.mapping import LogMapping
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Sketch

SCHEME = Scheme(alpha=0.02, resolution=1e-3)
VALUES = st.lists(
    st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-12, 0.0005]), min_size=1, max_size=60
)


def sketched(values, scheme: Scheme = SCHEME, budget: int | None = None) -> Sketch:
    sketch = Sketch(scheme, budget)
    sketch.update(values)
    return sketch


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01, 0.001])
def test_the_table_finds_the_bins_of_the_edges_on_all_sides_of_them(alpha: float) -> None:
    mapping = LogMapping(alpha)
    edges = mapping.edges
    x = np.concatenate(
        [edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf), [0.0, 5e-324, 1e-300, 1e200, np.pi]]
    )
    x = np.concatenate([x, -x])
    table = BinTable(mapping)
    parts = [table.codes(x[i : i + BLOCK]).copy() for i in range(0, len(x), BLOCK)]
    assert (np.concatenate(parts) == mapping.index(x)).all()


def test_the_table_gives_nan_and_infinity_codes_of_their_own() -> None:
    mapping = LogMapping(0.01)
    odd = np.array([0x7FF0000000000001, 0xFFF0000000000001, 0x7FFFFFFFFFFFFFFF], np.uint64).view(np.float64)
    codes = BinTable(mapping).codes(np.concatenate([odd, [np.nan, -np.nan, np.inf, -np.inf]]))
    assert codes.tolist() == [mapping.n_bins] * 5 + [mapping.n_bins + 1] * 2
    with pytest.raises(SketchError, match="accuracy"):
        BinTable(LogMapping(1e-4, 1.0, 2.0))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-(2**52), 2**52) | st.integers(-100, 100), min_size=1, max_size=200),
    st.integers(1, 40),
)
def test_sums_are_exact_however_large(numbers: list[int], repeats: int) -> None:
    steps = np.array((numbers * repeats)[:BLOCK], np.float64)
    found = exact_sums(steps, float(np.abs(steps).max()), np.empty(len(steps), np.int64))
    whole = [int(step) for step in steps]
    assert found == (sum(whole), sum(step * step for step in whole))


def test_a_full_block_of_the_largest_steps_is_summed_exactly() -> None:
    for largest in (2.0**52, 2.0**47 - 1, 2.0**44 + 1, 2.0**24, 2.0**23 + 3):
        steps = np.full(BLOCK, -largest)
        found = exact_sums(steps, largest, np.empty(BLOCK, np.int64))
        assert found == (-int(largest) * BLOCK, int(largest) ** 2 * BLOCK)


def test_decimal_values_become_the_steps_they_were_written_as() -> None:
    assert Resolution(0.01).steps(np.array([0.29, 1.15, -2.675])).tolist() == [29, 115, -268]
    assert Resolution(0.01).value(29) == 0.29
    assert Resolution(2.5).steps(np.array([5.0, 7.4])).tolist() == [2, 3]
    with pytest.raises(SketchError):
        Resolution(0.0)


@settings(deadline=None, max_examples=80)
@given(VALUES)
def test_count_extremes_and_moments_are_exact(values: list[float]) -> None:
    sketch = sketched([*values, float("nan")])
    steps = [round(Fraction(float(v * 1000.0))) for v in values]
    n = len(values)
    assert (sketch.count, sketch.missing) == (n, 1)
    assert (sketch.minimum, sketch.maximum) == (min(values), max(values))
    assert sketch.sum_steps == sum(steps)
    assert sketch.sum == pytest.approx(sum(steps) / 1000)
    variance = Fraction(n * sum(s * s for s in steps) - sum(steps) ** 2, n * n) / 10**6
    assert sketch.variance == pytest.approx(float(variance), rel=1e-12, abs=1e-300)


@settings(deadline=None, max_examples=80)
@given(VALUES, st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from(["linear", "midpoint"]))
def test_quantiles_are_between_their_bounds_and_so_are_the_exact_ones(values, levels, method) -> None:
    found = sketched(values).quantiles(levels, method)
    x = np.sort(values)
    # The inverse CDF by its definition, comparing k / n with the level as floats do.
    exact = np.array([x[np.flatnonzero((np.arange(len(x)) + 1) / len(x) >= p)[0]] for p in levels])
    assert (found.lower <= exact).all()
    assert (exact <= found.upper).all()
    assert (found.lower <= found.values).all()
    assert (found.values <= found.upper).all()
    ordinary = np.abs(exact) >= SCHEME.min_value
    assert (np.abs(found.values - exact) <= found.worst_case * np.abs(exact) * (1 + 1e-9))[ordinary].all()


def test_the_worst_case_of_the_method_is_reported() -> None:
    sketch = sketched([1.0, 2.0, 3.0], Scheme(alpha=0.01))
    assert sketch.quantiles([0.5], "midpoint").worst_case == pytest.approx(0.01)
    assert sketch.quantiles([0.5]).worst_case == pytest.approx(0.02 / 0.99)


def test_interpolation_is_nearer_than_midpoints_on_average() -> None:
    x = np.sort(np.random.default_rng(0).lognormal(0, 1, 20_001))
    sketch, levels = sketched(x, Scheme(alpha=0.02)), np.linspace(0.01, 0.99, 500)
    exact = x[np.ceil(levels * len(x)).astype(int) - 1]
    linear, middle = (
        np.abs(sketch.quantiles(levels, m).values - exact).mean() for m in ("linear", "midpoint")
    )
    assert linear < middle / 4


@settings(deadline=None, max_examples=50)
@given(st.lists(VALUES, min_size=2, max_size=5), st.randoms())
def test_parts_merged_in_any_order_equal_the_whole(parts: list[list[float]], random) -> None:
    whole = sketched([value for part in parts for value in part])
    random.shuffle(parts)
    merged = Sketch(SCHEME)
    for part in parts:
        merged.merge(sketched(part))
    assert merged == whole


@settings(deadline=None, max_examples=50)
@given(VALUES, VALUES)
def test_what_was_added_can_be_taken_out(a: list[float], b: list[float]) -> None:
    both, second = sketched(a + b), sketched(b)
    both.subtract(second)
    first = sketched(a)
    assert (both.counts == first.counts).all()
    assert (both.sum_steps, both.square_steps) == (first.sum_steps, first.square_steps)
    assert both.minimum <= first.minimum
    assert first.maximum <= both.maximum
    assert not both.exact_range
    both.subtract(first)
    assert both == Sketch(SCHEME)


def test_what_was_never_added_cannot_be_taken_out_and_changes_nothing() -> None:
    sketch, before = sketched([1.0, 2.0]), sketched([1.0, 2.0])
    for other in ([3.0], [1.0, 1.0], [float("nan")], [1.001]):
        with pytest.raises(NeverAddedError):
            sketch.subtract(sketched(other))
    assert sketch == before


def test_a_budget_joins_bins_in_pairs_and_says_what_accuracy_is_left() -> None:
    x = np.random.default_rng(1).lognormal(0, 3, 20_000) * np.where(np.arange(20_000) % 3, 1, -1)
    sketch = sketched(x, Scheme(alpha=0.005), budget=128)
    assert len(sketch.rows[0]) <= 128
    assert sketch.level > 0
    assert sketch.alpha == pytest.approx(collapsed_alpha(0.005, sketch.level))
    lower, upper = sketch.bounds
    inner = slice(1, -1)
    assert (lower[1:] == upper[:-1]).all()
    positive = lower[inner] > 0
    growth = upper[inner][positive] / lower[inner][positive]
    assert growth[:-1] == pytest.approx((1 + sketch.alpha) / (1 - sketch.alpha), rel=1e-9)
    found, exact = sketch.quantiles([0.1, 0.5, 0.9], "midpoint"), np.sort(x)[[1999, 9999, 17999]]
    assert (np.abs(found.values - exact) <= sketch.alpha * np.abs(exact) * (1 + 1e-9)).all()


def test_collapsing_before_or_after_adding_is_the_same() -> None:
    x = np.random.default_rng(2).normal(0, 50, 3000)
    early, late = Sketch(SCHEME), sketched(x)
    early.collapse()
    early.collapse()
    early.update(x)
    late.collapse()
    late.collapse()
    assert early == late
    mixed = sketched(x[:1000])
    half = Sketch(SCHEME)
    half.collapse()
    half.update(x[1000:])
    half.collapse()
    mixed.merge(half)
    assert mixed == late
    assert early.copy() == early
    with pytest.raises(MappingMismatchError):
        sketched(x).subtract(early)


def test_bad_input_has_typed_errors_and_changes_nothing() -> None:
    sketch = sketched([1.0, 2.0])
    for bad in ([3.0, np.inf], [-np.inf], [np.nan, 1e300]):
        with pytest.raises(InfiniteValueError):
            sketch.update(bad)
    assert sketch == sketched([1.0, 2.0])
    with pytest.raises(MappingMismatchError):
        sketch.merge(Sketch(Scheme(alpha=0.03)))
    with pytest.raises(EmptySketchError):
        Sketch().quantiles([0.5])
    with pytest.raises(EmptySketchError):
        _ = Sketch().mean
    with pytest.raises(SketchError):
        sketch.quantiles([1.5])
    with pytest.raises(SketchError):
        Sketch(budget=2)


def test_only_nan_is_an_empty_sketch_with_missing_values() -> None:
    sketch = sketched([np.nan] * 3)
    assert (sketch.count, sketch.missing) == (0, 3)
    assert "count=0" in repr(sketch)
