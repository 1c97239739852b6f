import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from streams.distributions.errors import (
    DistributionError,
    EmptyDistributionError,
    GridMismatchError,
    NotFiniteError,
    TooFewDistributionsError,
)
from streams.distributions.grid import Grid
from streams.distributions.power_kernel import mean_power
from streams.distributions.quantile_function import QuantileFunction
from streams.distributions.sources import of_density, of_quantiles, of_row, of_sample, on_grid
from streams.distributions.wasserstein import wasserstein
from streams.sketches.mapping import LogMapping

FINE = np.linspace(0.0005, 0.9995, 1000)
MAPPING = LogMapping(alpha=0.05)


def sketch(values: np.ndarray) -> QuantileFunction:
    codes, counts = np.unique(MAPPING.index(values), return_counts=True)
    return of_row(MAPPING, codes, counts, values.min(), values.max())


def true_distance(f: QuantileFunction, values: np.ndarray, order: float) -> float:
    """Integrate |estimate - inverse CDF|^order between all breaks by Gauss-Legendre, apart from the code under test."""
    breaks = np.union1d(f.breaks, np.arange(len(values) + 1) / len(values))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    a, b = breaks[:-1, None], breaks[1:, None]
    levels = (a + b) / 2 + (b - a) / 2 * nodes
    exact = np.sort(values)[np.clip(np.ceil(levels * len(values)).astype(int) - 1, 0, None)]
    total = (np.abs(f.at(levels) - exact) ** order * weights * (b - a) / 2).sum()
    return float(total ** (1 / order))


def test_a_sample_has_its_inverse_cdf() -> None:
    f = of_sample([3.0, 1.0, 2.0, 2.0])
    assert f.at([0.0, 0.25, 0.26, 0.75, 0.76, 1.0]).tolist() == [1, 1, 2, 2, 3, 3]
    assert f.error() == pytest.approx(0, abs=1e-13)


def test_a_weighted_sample_equals_repeated_values() -> None:
    weighted = of_sample([5.0, 1.0, 9.0], [2.0, 1.0, 0.0])
    assert weighted.at(FINE) == pytest.approx(of_sample([1.0, 5.0, 5.0]).at(FINE))


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-12, -1.0]), min_size=1, max_size=40),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
)
def test_the_error_of_a_sketch_covers_its_distance_to_the_data(values: list[float], order: float) -> None:
    x = np.array(values)
    f = sketch(x)
    assert true_distance(f, x, order) <= f.error(order)
    low, high = f.bounds(FINE)
    exact = of_sample(x).at(FINE)
    assert (low <= exact).all()
    assert (exact <= high).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30), st.integers(1, 40))
def test_the_error_on_a_grid_covers_the_distance_of_the_step_function(values: list[float], m: int) -> None:
    x, grid = np.array(values), Grid.midpoints(m)
    f = sketch(x)
    steps = of_quantiles(grid, f.on(grid))
    assert true_distance(steps, x, 2.0) <= f.grid_error(grid)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30), st.integers(1, 40))
def test_averages_over_cells_keep_the_mean_and_their_error_is_covered(values: list[float], m: int) -> None:
    x, grid = np.array(values), Grid.midpoints(m)
    f = sketch(x)
    vector = f.averages(grid)
    assert grid.integral(vector) == pytest.approx(float((f.start + f.end) / 2 @ f.widths), abs=1e-8)
    steps = of_quantiles(grid, vector)
    assert true_distance(steps, x, 2.0) <= f.grid_error(grid, 2.0, vector) + 1e-9
    at_levels = of_quantiles(grid, f.on(grid))
    nearest = wasserstein(steps, f).value
    assert nearest <= wasserstein(at_levels, f).value + 1e-6


def test_the_error_of_a_sketch_is_no_larger_than_what_theory_allows() -> None:
    x = np.random.default_rng(1).lognormal(0, 1, 5000)
    f = sketch(x)
    gamma = 1.05 / 0.95
    assert f.error(1.0) <= (gamma - 1) / 2 * x.mean() * 1.001
    assert f.error(2.0) <= (gamma - 1) / np.sqrt(3) * np.sqrt((x**2).mean()) * 1.001


def test_one_value_is_exact_whatever_its_bin() -> None:
    f = sketch(np.array([7.3]))
    assert f.at([0.0, 0.5, 1.0]).tolist() == [7.3] * 3
    assert f.error() < 1e-13


def test_a_density_is_inverted_in_closed_form() -> None:
    x = np.linspace(0.0, 1.0, 3)
    f = of_density(x, 2 * x)
    assert f.at(FINE) == pytest.approx(np.sqrt(FINE), abs=2e-4)
    assert f.at(f.breaks[1:]) == pytest.approx(np.sqrt(f.breaks[1:]), abs=1e-14)
    gap = of_density([0.0, 1.0, 1.5, 2.5, 3.0, 4.0], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    assert gap.at([0.3, 0.7]) == pytest.approx([0.75, 3.25], abs=1e-3)


def test_the_error_of_a_density_shrinks_with_its_pieces() -> None:
    x = np.linspace(-6, 6, 400)
    coarse, fine = (of_density(x, stats.norm.pdf(x), pieces).error() for pieces in (50, 5000))
    assert fine < coarse / 5


def test_exact_quantiles_bound_the_data_between_them() -> None:
    grid = Grid.closed(3)
    f = of_quantiles(grid, [0.0, 1.0, 4.0], exact=True)
    assert f.at([0.25, 0.75]).tolist() == [0.5, 2.5]
    # All data of the upper half at 1 or 4, of the lower at 0 or 1: the mean square of a slope from 0 is a third.
    assert f.error() == pytest.approx(np.sqrt((1 / 3 + 9 / 3) / 2))
    with pytest.raises(GridMismatchError):
        of_quantiles(Grid.midpoints(3), [0.0, 1.0, 4.0], exact=True)
    with pytest.raises(GridMismatchError):
        of_quantiles(Grid.trapezoid([0.1, 0.9]), [0.0, 1.0])


def test_vectors_on_a_grid_carry_their_errors() -> None:
    functions = [of_sample([1.0, 2.0]), of_sample([4.0, 8.0])]
    quantiles = on_grid(functions, Grid.midpoints(2))
    assert quantiles.values.tolist() == [[1.0, 2.0], [4.0, 8.0]]
    assert quantiles.errors == pytest.approx([0, 0], abs=1e-13)
    assert on_grid(functions, Grid.midpoints(1)).errors == pytest.approx([np.sqrt(0.5), np.sqrt(8)])
    with pytest.raises(TooFewDistributionsError):
        on_grid([], Grid.midpoints(2))


@pytest.mark.parametrize("order", [1.0, 1.3, 2.0, 4.0])
def test_mean_power_is_the_integral_along_a_line(order: float) -> None:
    a, b = np.array([1.0, -1.0, 2.0, 0.0]), np.array([3.0, 2.0, 2.0, 0.0])
    expected = [
        integrate.quad(lambda t, i=i: abs(a[i] + (b[i] - a[i]) * t) ** order, 0, 1, points=[1 / 3])[0]
        for i in range(4)
    ]
    found = [mean_power(*ends, order) for ends in zip(a.tolist(), b.tolist(), strict=True)]
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (EmptyDistributionError, lambda: of_sample([])),
        (NotFiniteError, lambda: of_sample([1.0, np.nan])),
        (NotFiniteError, lambda: of_sample([1.0], [-1.0])),
        (EmptyDistributionError, lambda: of_sample([1.0], [0.0])),
        (GridMismatchError, lambda: of_sample([1.0], [1.0, 2.0])),
        (EmptyDistributionError, lambda: of_row(MAPPING, [], [], 0, 0)),
        (NotFiniteError, lambda: of_density([0.0, 1.0], [-1.0, 1.0])),
        (EmptyDistributionError, lambda: of_density([0.0, 1.0], [0.0, 0.0])),
        (GridMismatchError, lambda: of_density([0.0, 0.0], [1.0, 1.0])),
        (DistributionError, lambda: of_sample([1.0]).at(1.5)),
        (DistributionError, lambda: of_sample([1.0]).error(0.5)),
    ],
)
def test_bad_input_has_a_typed_error(error: type[Exception], call) -> None:
    with pytest.raises(error):
        call()
