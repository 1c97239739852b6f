import numpy as np
import pytest

from streams.distributions.errors import GridMismatchError, NonMonotoneError, NotFiniteError
from streams.distributions.grid import Grid


def test_midpoints_cover_all_levels_with_equal_cells() -> None:
    grid = Grid.midpoints(4)
    assert grid.levels.tolist() == [0.125, 0.375, 0.625, 0.875]
    assert grid.cells.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_closed_grid_integrates_by_the_trapezoidal_rule() -> None:
    grid = Grid.closed(5)
    f = grid.levels**2
    assert grid.integral(f) == pytest.approx(np.trapezoid(f, grid.levels))
    assert grid.cells.tolist() == [0.0, 0.125, 0.375, 0.625, 0.875, 1.0]


def test_a_grid_that_stops_short_is_not_rescaled() -> None:
    grid = Grid.trapezoid([0.1, 0.5, 0.9])
    assert grid.weights.sum() == pytest.approx(0.8)
    assert grid.norm(np.ones(3)) == pytest.approx(np.sqrt(0.8))
    assert grid.cells == pytest.approx([0.1, 0.3, 0.7, 0.9])


def test_grids_are_equal_by_their_values() -> None:
    assert Grid.midpoints(3) == Grid.midpoints(3)
    assert hash(Grid.midpoints(3)) == hash(Grid.midpoints(3))
    assert Grid.midpoints(3) != Grid.closed(3)


@pytest.mark.parametrize("levels", [[0.5], [0.2, 0.2], [-0.1, 0.5], [0.5, 1.1], [[0.1, 0.2]]])
def test_levels_that_are_no_grid_are_refused(levels: list[float]) -> None:
    with pytest.raises(GridMismatchError):
        Grid.trapezoid(levels)


def test_vectors_are_checked_with_a_typed_error_for_each_fault() -> None:
    grid = Grid.midpoints(3)
    assert grid.check([1.0, 1.0, 2.0]).shape == (1, 3)
    with pytest.raises(GridMismatchError):
        grid.check([1.0, 2.0])
    with pytest.raises(NotFiniteError):
        grid.check([1.0, 2.0, np.nan])
    with pytest.raises(NonMonotoneError, match="vector 1 falls by 1"):
        grid.check([[1.0, 2.0, 3.0], [1.0, 0.0, 3.0]])
    assert grid.check([1.0, 0.0, 3.0], monotone=False).shape == (1, 3)


def test_a_fall_by_rounding_alone_is_accepted() -> None:
    Grid.midpoints(3).check([0.1 + 0.2, 0.3, 5.0])
