import numpy as np
import pytest
from scipy import optimize, stats

from streams.distributions.errors import DistributionError, GridMismatchError, NotFittedError
from streams.distributions.fisher_rao_regression import (
    FisherRaoRegression,
    SphereRegression,
    fisher_rao_mean,
    fisher_rao_variance,
)
from streams.distributions.sphere import angles, weighted_mean

X = np.linspace(-6, 8, 120)


def points(n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 1, n))
    y = np.stack([np.cos(2 * x), np.sin(2 * x), 0.3 + 0 * x], axis=1) + rng.normal(0, 0.3, (n, 3))
    return x, y / np.linalg.norm(y, axis=1, keepdims=True)


def test_the_mean_of_two_densities_is_halfway_on_the_arc() -> None:
    f, g = stats.norm.pdf(X, 0, 1), stats.norm.pdf(X, 2, 1)
    middle = fisher_rao_mean(X, [f, g])
    roots = [np.sqrt(d) for d in (f, g)]
    bc = np.trapezoid(roots[0] * roots[1], X)
    expected = (roots[0] + roots[1]) ** 2 / (2 + 2 * bc)
    assert middle == pytest.approx(expected, abs=1e-9)
    assert fisher_rao_variance(X, [f, g]) == pytest.approx((np.arccos(bc) / 2) ** 2)
    assert fisher_rao_mean(X, [f, g], [1, 0]) == pytest.approx(f, abs=1e-9)


def test_the_gradient_vanishes_at_the_karcher_mean() -> None:
    _, y = points()
    mean = weighted_mean(y, np.full(len(y), 1 / len(y)))
    theta = angles(y, mean)
    logs = (theta / np.sin(theta))[:, None] * (y - np.cos(theta)[:, None] * mean)
    assert logs.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-13)


@pytest.mark.parametrize("bandwidth", [None, 0.2])
@pytest.mark.parametrize("at", [-0.5, 0.0, 0.6, 1.7])
def test_predictions_are_true_minima(at: float, bandwidth: float | None) -> None:
    x, y = points()
    model = SphereRegression(bandwidth=bandwidth).fit(x, y)
    if bandwidth is not None:
        at = np.clip(at, 0, 1)
    w = model.weights([at])[0]

    def loss(v: np.ndarray) -> float:
        return float(w @ angles(y, v / np.linalg.norm(v)) ** 2)

    best = min(optimize.minimize(loss, s, tol=1e-14).fun for s in np.r_[np.eye(3), -np.eye(3), y[::6]])
    assert loss(model.predict([at])[0]) <= best + 1e-12
    assert loss(model.predict([at])[0]) < loss(w @ y)


def test_points_on_a_geodesic_are_predicted_on_it() -> None:
    x = np.linspace(0, 1, 11)
    y = np.stack([np.cos(x), np.sin(x), 0 * x], axis=1)
    model = SphereRegression().fit(x, y)
    assert model.predict([0.25]) == pytest.approx(np.array([[np.cos(0.25), np.sin(0.25), 0]]), abs=1e-10)
    assert model.score(x, y) == pytest.approx(1.0)


def test_densities_are_regressed_as_densities() -> None:
    z = np.linspace(0, 1, 15)
    densities = np.stack([stats.norm.pdf(X, 2 * v, 1) for v in z])
    model = FisherRaoRegression(X).fit(z, densities)
    found = model.predict([0.5])
    assert np.trapezoid(found[0], X) == pytest.approx(1.0)
    assert X[found[0].argmax()] == pytest.approx(1.0, abs=0.1)
    assert model.score(z, densities) > 0.9


def test_bad_input_has_typed_errors() -> None:
    x, y = points()
    with pytest.raises(NotFittedError):
        SphereRegression().predict(x)
    with pytest.raises(GridMismatchError):
        SphereRegression().fit(x, np.zeros((30, 3)))
    with pytest.raises(DistributionError):
        weighted_mean(y, np.zeros(30))
