import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from streams.distributions.monotone import projected
from tests.streams.distributions.cases import load


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.floats(-5, 5), st.floats(0, 5))
def test_the_bounded_projection_solves_the_quadratic_program(values, lower: float, width: float) -> None:
    """x = lower + sum of steps d >= 0 up to the upper bound: least squares with bounds, apart from PAVA."""
    y, upper = np.array(values), lower + width
    found = projected(y[None], (lower, upper))[0]
    assert (np.diff(found) >= 0).all()
    assert lower <= found.min()
    assert found.max() <= upper
    # Optimal if no feasible direction descends: the gradient's product with any feasible x - found is not negative.
    gradient = found - y
    rises = np.cumsum(gradient[::-1])[::-1]
    best = lower * gradient.sum() + width * min(0.0, float(rises.min()))
    assert gradient @ found <= best + 1e-9 * (1 + np.abs(y).sum())


def test_without_bounds_it_is_scipys_isotonic_regression() -> None:
    y = np.random.default_rng(0).normal(size=50)
    assert (projected(y[None])[0] == optimize.isotonic_regression(y).x).all()


@pytest.mark.reference
def test_projection_onto_monotone_vectors(refdata) -> None:
    case = load(refdata, "R21_bounded_monotone_projection")
    y, bounds = np.array(case.input["y"])[None], (case.input["lower"], case.input["upper"])
    assert projected(y)[0] == pytest.approx(np.array(case.expected["unbounded"]), abs=1e-9)
    assert projected(y, bounds)[0] == pytest.approx(np.array(case.expected["bounded"]), abs=1e-9)
