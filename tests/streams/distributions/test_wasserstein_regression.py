import numpy as np
import pytest
from scipy import stats

from streams.distributions.errors import (
    DistributionError,
    GridMismatchError,
    SingularCovarianceError,
    TooFewDistributionsError,
)
from streams.distributions.grid import Grid
from streams.distributions.wasserstein_regression import DistributionOnDistribution, ScalarOnDistribution
from tests.streams.distributions.cases import load

GRID = Grid.midpoints(30)
NORMAL = stats.norm.ppf(GRID.levels)


def normals(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(0, 1, n), rng.uniform(0.5, 2, n)
    return mean, sd, mean[:, None] + sd[:, None] * NORMAL


def test_a_number_linear_in_mean_and_deviation_is_found() -> None:
    mean, sd, q = normals()
    z = np.random.default_rng(1).normal(size=40)
    y = 1 + 2 * mean - 3 * sd + 0.5 * z
    model = ScalarOnDistribution(GRID).fit(np.c_[q, z], y)
    assert model.predict(np.c_[q, z]) == pytest.approx(y)
    assert model.score(np.c_[q, z], y) == pytest.approx(1.0)
    # The coefficient function tells the mean's effect: shifting by 1 adds its integral.
    assert GRID.integral(model.slope_) == pytest.approx(2.0)


def test_a_distribution_linear_in_the_log_map_is_found() -> None:
    mean, sd, q = normals()
    response = 5 + (0.5 * mean)[:, None] + (1 + sd)[:, None] * NORMAL
    model = DistributionOnDistribution(GRID).fit(q, response)
    assert model.predict(q) == pytest.approx(response)
    assert model.score(q, response) == pytest.approx(1.0)
    truncated = DistributionOnDistribution(GRID, components=2, response_components=1).fit(q, response)
    assert truncated.score(q, response) < 1.0 - 1e-4


@pytest.mark.parametrize("projection", ["isotonic", "boundary"])
def test_predictions_outside_are_brought_back_to_distributions(projection) -> None:
    mean, sd, q = normals()
    response = mean[:, None] + (2.2 - sd)[:, None] * NORMAL
    model = DistributionOnDistribution(GRID, projection=projection).fit(q, response)
    wide = 9 * NORMAL
    found = model.predict(wide)[0]
    assert (np.diff(found) >= -1e-12).all()
    assert np.ptp(found) < 0.1


def test_other_grids_and_bounds_for_the_response() -> None:
    _, _, q = normals()
    grid = Grid.midpoints(5)
    response = np.sort(np.random.default_rng(3).normal(size=(40, 5)), axis=1)
    model = DistributionOnDistribution(GRID, grid, support=(-0.5, 0.5)).fit(q, response)
    assert model.predict(q).shape == (40, 5)
    assert np.abs(model.predict(q)).max() <= 0.5


def test_bad_input_has_typed_errors() -> None:
    mean, _, q = normals(10)
    with pytest.raises(TooFewDistributionsError):
        ScalarOnDistribution(GRID).fit(np.tile(q[:1], (10, 1)), mean)
    with pytest.raises(TooFewDistributionsError):
        ScalarOnDistribution(GRID).fit(q[:2], mean[:2])
    with pytest.raises(SingularCovarianceError):
        ScalarOnDistribution(GRID).fit(np.c_[q, q.mean(axis=1)], mean)
    with pytest.raises(GridMismatchError):
        ScalarOnDistribution(GRID).fit(q[:, :5], mean)
    with pytest.raises(GridMismatchError):
        ScalarOnDistribution(GRID).fit(q, mean[:5])
    with pytest.raises(GridMismatchError):
        ScalarOnDistribution(GRID).fit(q, mean).predict(np.c_[q, mean])
    with pytest.raises(DistributionError):
        ScalarOnDistribution(GRID, fve=2.0).fit(q, mean)


@pytest.mark.reference
def test_a_number_on_a_distribution_and_a_scalar(refdata) -> None:
    case = load(refdata, "R18_distribution_to_scalar_regression")
    given, known = case.input, case.expected
    levels = np.array(given["qSup"])
    grid = Grid.midpoints(len(levels))
    assert grid.levels == pytest.approx(levels)
    q = np.array(given["mu_x"])[:, None] + np.array(given["sd_x"])[:, None] * stats.norm.ppf(levels)
    x = np.c_[q, given["z"]]
    found = ScalarOnDistribution(grid).fit(x, given["y"]).predict(x)
    assert found == pytest.approx(np.array(known["yfit_closed_form"]), abs=1e-8)
    assert found == pytest.approx(np.array(known["yfit_WR"]), abs=1e-3)
