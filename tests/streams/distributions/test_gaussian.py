import numpy as np
import pytest
from scipy import stats

from streams.distributions.errors import GridMismatchError, NotFiniteError, SingularCovarianceError
from streams.distributions.gaussian import bures_w2, gaussian_barycenter, gaussian_map
from streams.distributions.sources import of_law
from streams.distributions.wasserstein import wasserstein
from tests.streams.distributions.cases import load


def test_in_one_dimension_it_is_the_distance_of_means_and_deviations() -> None:
    found = bures_w2(0.0, 1.0, 1.5, 2.5**2)
    assert found.value == pytest.approx(np.sqrt(1.5**2 + 1.5**2))
    assert wasserstein(of_law(stats.norm(0, 1).ppf), of_law(stats.norm(1.5, 2.5).ppf)).value == pytest.approx(
        found.value, abs=1e-4
    )


def test_equal_gaussians_are_at_zero_within_rounding() -> None:
    c = np.array([[2.0, 0.5], [0.5, 1.0]])
    found = bures_w2([1, 2], c, [1, 2], c)
    assert 0.0 in found
    assert found.upper < 1e-6


def test_singular_covariances_have_a_distance_but_no_map() -> None:
    line = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert bures_w2([0, 0], line, [0, 0], 4 * line).value == pytest.approx(np.sqrt(2.0))
    with pytest.raises(SingularCovarianceError):
        gaussian_map([0, 0], line, [0, 0], np.eye(2))
    with pytest.raises(SingularCovarianceError):
        gaussian_barycenter([[0, 0]], [line])


def test_the_map_carries_one_gaussian_to_the_other() -> None:
    rng = np.random.default_rng(3)
    c1, c2 = (m @ m.T for m in rng.normal(size=(2, 4, 4)))
    a, b = gaussian_map(np.ones(4), c1, np.arange(4.0), c2)
    assert a == pytest.approx(a.T)
    assert a @ c1 @ a.T == pytest.approx(c2)
    assert a @ np.ones(4) + b == pytest.approx(np.arange(4.0))


@pytest.mark.parametrize(
    ("error", "cov"),
    [
        (SingularCovarianceError, [[1.0, 2.0], [2.0, 1.0]]),
        (SingularCovarianceError, [[1.0, 0.5], [0.0, 1.0]]),
        (NotFiniteError, [[1.0, np.nan], [np.nan, 1.0]]),
        (GridMismatchError, [[1.0, 0.0]]),
        (GridMismatchError, [[1.0]]),
    ],
)
def test_bad_covariances_have_typed_errors(error: type[Exception], cov: list[list[float]]) -> None:
    with pytest.raises(error):
        bures_w2([0, 0], np.eye(2), [0, 0], cov)


@pytest.mark.reference
def test_distance_map_and_barycenter(refdata) -> None:
    case = load(refdata, "P03_bures_wasserstein")
    means, covs = np.array(case.input["means"]), np.array(case.input["covs"])
    known = case.expected
    assert bures_w2(means[0], covs[0], means[1], covs[1]).value == pytest.approx(
        known["distance_12"], abs=1e-9
    )
    a, b = gaussian_map(means[0], covs[0], means[1], covs[1])
    assert a == pytest.approx(np.array(known["map_A_12"]), abs=1e-8)
    assert b == pytest.approx(np.array(known["map_b_12"]), abs=1e-8)
    mean, cov = gaussian_barycenter(means, covs, case.input["weights"])
    assert mean == pytest.approx(np.array(known["bary_mean"]), abs=1e-6)
    assert cov == pytest.approx(np.array(known["bary_cov"]), abs=1e-6)
