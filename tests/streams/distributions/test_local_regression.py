import numpy as np
import pytest

from streams.distributions.errors import DistributionError, SingularCovarianceError
from streams.distributions.grid import Grid
from streams.distributions.kernels import KERNELS, local_linear_weights
from streams.distributions.local_regression import LocalFrechetRegression, LocalGridRegression
from tests.streams.distributions.cases import load

GRID = Grid.midpoints(6)


def curve(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0, 1, n)
    return x, np.sin(6 * x)[:, None] + (1 + x)[:, None] * GRID.levels


@pytest.mark.parametrize("kernel", ["gauss", "epan", "rect", "quar", "gausvar"])
def test_a_line_is_reproduced_by_every_kernel(kernel) -> None:
    x = np.linspace(0, 1, 20)
    q = 3 + 2 * x[:, None] + GRID.levels
    found = LocalFrechetRegression(GRID, bandwidth=0.2, kernel=kernel).fit(x, q).predict([0.33])
    assert found[0] == pytest.approx(3.66 + GRID.levels)


def test_weights_of_one_predictor_are_those_of_the_definition() -> None:
    x, at, h = np.array([0.0, 0.3, 0.4, 0.9]), 0.35, 0.3
    k = KERNELS["gauss"]((x - at) / h)
    mu1, mu2 = k @ (x - at), k @ (x - at) ** 2
    s = k * (mu2 - mu1 * (x - at))
    found = local_linear_weights(x[:, None], np.array([[at]]), np.array([h]), "gauss")
    assert found[0] == pytest.approx(s / s.sum())


def test_two_predictors_are_fitted_by_a_plane() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(60, 2))
    q = (x @ [1.0, -2.0])[:, None] + GRID.levels
    model = LocalFrechetRegression(GRID, bandwidth=[0.3, 0.5]).fit(x, q)
    assert model.predict([[0.5, 0.5]])[0] == pytest.approx(-0.5 + GRID.levels)


def test_the_bandwidth_is_chosen_by_cross_validation() -> None:
    x, q = curve()
    model = LocalFrechetRegression(GRID).fit(x, q)
    assert model.score(x, q) > 0.99
    worse = LocalFrechetRegression(GRID, bandwidth=1.0).fit(x, q)
    assert worse.score(x, q) < model.score(x, q)


def test_the_streaming_form_equals_the_batch_at_its_points() -> None:
    x, q = curve(50)
    at = [0.2, 0.5, 0.8]
    batch = LocalFrechetRegression(GRID, bandwidth=0.1).fit(x, q)
    left, right = (LocalGridRegression(GRID, at, 0.1) for _ in range(2))
    left.partial_fit(x[:10], q[:10]).partial_fit(x[10:23], q[10:23])
    right.fit(x[23:], q[23:])
    assert left.merge(right).predict() == pytest.approx(batch.predict(at), rel=1e-10)
    assert left.predict([0.8, 0.2]) == pytest.approx(batch.predict([0.8, 0.2]), rel=1e-10)
    assert left.score([0.2, 0.8], batch.predict([0.2, 0.8])) == pytest.approx(1.0)


def test_the_error_of_a_prediction_covers_that_of_its_vectors() -> None:
    x, q = curve()
    rng = np.random.default_rng(2)
    moved = q + rng.uniform(-0.01, 0.01, size=(len(x), 1))
    e = GRID.norm(moved - q)
    model = LocalFrechetRegression(GRID, bandwidth=0.1).fit(x, q, errors=e)
    other = LocalFrechetRegression(GRID, bandwidth=0.1).fit(x, moved)
    at = [0.0, 0.5, 1.0]
    assert (GRID.norm(model.predict(at) - other.predict(at)) <= model.error(at)).all()


def test_bad_input_has_typed_errors() -> None:
    x, q = curve(10)
    with pytest.raises(SingularCovarianceError):
        LocalFrechetRegression(GRID, bandwidth=0.01, kernel="epan").fit(x, q).predict([0.5])
    with pytest.raises(DistributionError):
        LocalFrechetRegression(GRID, bandwidth=-1).fit(x, q)
    with pytest.raises(DistributionError):
        LocalFrechetRegression(GRID, kernel="cosine").fit(x, q)
    fixed = LocalGridRegression(GRID, [0.5], 0.01, kernel="epan").fit(x, q)
    with pytest.raises(SingularCovarianceError):
        fixed.predict()
    with pytest.raises(DistributionError):
        fixed.predict([0.4])
    with pytest.raises(DistributionError):
        fixed.merge(LocalGridRegression(GRID, [0.6], 0.01).fit(x, q))


@pytest.mark.reference
@pytest.mark.parametrize("kernel", ["gauss", "epan"])
def test_local_regression(refdata, kernel) -> None:
    case = load(refdata, "R05_local_frechet_regression")
    given, known = case.input, case.expected
    model = LocalFrechetRegression(
        Grid.trapezoid(given["qSup"]), bandwidth=given[f"bw_{kernel}"], kernel=kernel
    ).fit(given["x"], given["qin"])
    found = model.predict(given["xout"])
    assert found == pytest.approx(np.array(known[f"{kernel}_exact"]), abs=1e-8)
    assert found == pytest.approx(np.array(known[f"{kernel}_frechet"]), abs=0.01)
