import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streams.distributions.cdf import energy, kolmogorov_smirnov
from streams.distributions.certified import Certified
from streams.distributions.errors import DistributionError, GridMismatchError
from streams.distributions.grid import Grid
from streams.distributions.quantile_function import QuantileFunction
from streams.distributions.sources import of_density, of_law, of_row, of_sample, on_grid
from streams.distributions.wasserstein import distance_matrix, wasserstein
from streams.sketches.mapping import LogMapping
from tests.streams.distributions.cases import load

MAPPING = LogMapping(alpha=0.05)
VALUES = st.lists(st.floats(-1e5, 1e5) | st.sampled_from([0.0, 1.0, -1.0, 1e-12]), min_size=1, max_size=30)


def sketch(values: np.ndarray) -> QuantileFunction:
    codes, counts = np.unique(MAPPING.index(values), return_counts=True)
    return of_row(MAPPING, codes, counts, values.min(), values.max())


def test_distances_of_two_small_samples_by_hand() -> None:
    f, g = of_sample([0.0, 2.0]), of_sample([1.0, 5.0])
    assert wasserstein(f, g, 1.0).value == pytest.approx(2.0)
    assert wasserstein(f, g).value == pytest.approx(np.sqrt(5.0))
    assert wasserstein(f, g, 3.0).value == pytest.approx(14 ** (1 / 3))
    assert kolmogorov_smirnov(f, g).value == pytest.approx(0.5)
    assert energy(f, g).value == pytest.approx(np.sqrt(2 * (0.25 * 1 + 0.25 * 3)))


def test_a_distribution_is_at_distance_zero_from_itself() -> None:
    f = of_sample(np.random.default_rng(0).normal(size=999))
    for distance in (wasserstein(f, f), wasserstein(f, f, 1.0), kolmogorov_smirnov(f, f), energy(f, f)):
        assert distance.value == 0
        assert distance.bound < 1e-5


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES, st.sampled_from([1.0, 1.5, 2.0]))
def test_the_interval_of_two_sketches_holds_the_distance_of_the_data(
    a: list[float], b: list[float], order: float
) -> None:
    x, y = np.array(a), np.array(b)
    levels = np.union1d(np.arange(len(x) + 1) / len(x), np.arange(len(y) + 1) / len(y))
    middle, widths = (levels[1:] + levels[:-1]) / 2, np.diff(levels)
    gap = np.sort(x)[(middle * len(x)).astype(int)] - np.sort(y)[(middle * len(y)).astype(int)]
    exact = float((np.abs(gap) ** order @ widths) ** (1 / order))
    assert exact in wasserstein(sketch(x), sketch(y), order)
    assert wasserstein(of_sample(x), of_sample(y), order).value == pytest.approx(exact, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=80)
@given(VALUES, VALUES)
def test_brackets_of_cdf_distances_hold_those_of_the_data(a: list[float], b: list[float]) -> None:
    x, y = np.array(a), np.array(b)
    both = np.concatenate([x, y])
    ks = np.abs((x <= both[:, None]).mean(axis=1) - (y <= both[:, None]).mean(axis=1)).max()
    en = stats.energy_distance(x, y)
    assert ks in kolmogorov_smirnov(sketch(x), sketch(y))
    assert kolmogorov_smirnov(of_sample(x), of_sample(y)).value == pytest.approx(ks)
    found = energy(sketch(x), sketch(y))
    assert found.lower <= en * (1 + 1e-9) + 1e-12
    assert en <= found.upper * (1 + 1e-9) + 1e-12
    assert energy(of_sample(x), of_sample(y)).value == pytest.approx(en, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.lists(VALUES, min_size=2, max_size=5), st.integers(1, 60))
def test_the_bounds_of_a_distance_matrix_hold_the_distances_of_the_data(
    rows: list[list[float]], m: int
) -> None:
    samples = [np.array(row) for row in rows]
    values, bounds = distance_matrix(on_grid([sketch(x) for x in samples], Grid.midpoints(m)))
    for i, x in enumerate(samples):
        for j, y in enumerate(samples):
            exact = wasserstein(of_sample(x), of_sample(y))
            assert abs(values[i, j] - exact.value) <= bounds[i, j] + exact.bound


def test_matrices_between_different_grids_are_refused() -> None:
    a, b = (on_grid([of_sample([1.0])], Grid.midpoints(m)) for m in (3, 4))
    with pytest.raises(GridMismatchError):
        distance_matrix(a, b)
    with pytest.raises(DistributionError):
        wasserstein(of_sample([1.0]), of_sample([1.0]), 0.9)


def test_an_interval_knows_what_it_holds() -> None:
    found = Certified.within(1.0, 2.0)
    assert (found.lower, found.upper, found.bound, float(found)) == (0.0, 3.0, 2.0, 1.0)
    assert 3.0 in found
    assert 3.1 not in found


def _family(name: str) -> tuple[stats.rv_continuous, stats.rv_continuous]:
    return {
        "normal(0,1) vs normal(1,1)": (stats.norm(0, 1), stats.norm(1, 1)),
        "normal(0,1) vs normal(1.5,2.5)": (stats.norm(0, 1), stats.norm(1.5, 2.5)),
        "normal(0,1) vs normal(0,3)": (stats.norm(0, 1), stats.norm(0, 3)),
        "exponential rate 1 vs rate 0.4": (stats.expon(), stats.expon(scale=2.5)),
        "uniform(0,1) vs uniform(2,5)": (stats.uniform(0, 1), stats.uniform(2, 3)),
        "lognormal(0,.5) vs lognormal(.3,.8)": (stats.lognorm(0.5), stats.lognorm(0.8, scale=np.exp(0.3))),
        "laplace(0,1) vs laplace(1,2)": (stats.laplace(0, 1), stats.laplace(1, 2)),
        "gamma(3,1) vs gamma(5,1/1.2)": (stats.gamma(3), stats.gamma(5, scale=1 / 1.2)),
    }[name]


@pytest.mark.reference
def test_distances_of_parametric_families(refdata) -> None:
    case = load(refdata, "P01_wasserstein_closed_forms")
    for known in case.expected["cases"]:
        f, g = (of_law(law.ppf, law.isf) for law in _family(known["name"]))
        for order, name in ((1.0, "W1"), (2.0, "W2")):
            found = wasserstein(f, g, order)
            assert found.value == pytest.approx(known[name], abs=case.tolerance[name]), known["name"]
            assert known[name] in found


@pytest.mark.reference
def test_distances_of_densities_on_points(refdata) -> None:
    case = load(refdata, "R09_wasserstein_from_densities")
    x = np.arange(-6, 6.005, 0.01)
    f, g = (of_density(x + mean, stats.norm.pdf(x)) for mean in (0, 1))
    assert wasserstein(f, g).value == pytest.approx(case.expected["dist4den_normal"], abs=1e-8)
    x = np.linspace(0, 20, 1001)
    f, g = of_density(x, stats.gamma.pdf(x, 3)), of_density(x, stats.gamma.pdf(x, 5, scale=1 / 1.2))
    found = wasserstein(f, g)
    assert found.value == pytest.approx(case.expected["dist4den_gamma_nq2001"], abs=0.002)
    assert found.value == pytest.approx(case.expected["gamma_exact"], abs=1e-3)
    assert case.expected["gamma_exact"] in found
    f, g = (of_law(law.ppf, law.isf) for law in (stats.gamma(3), stats.gamma(5, scale=1 / 1.2)))
    assert wasserstein(f, g).value == pytest.approx(case.expected["gamma_exact"], abs=1e-7)


@pytest.mark.reference
def test_distances_of_two_samples(refdata) -> None:
    case = load(refdata, "P07_two_sample_statistics")
    f, g = of_sample(case.input["a"]), of_sample(case.input["b"])
    assert wasserstein(f, g, 1.0).value == pytest.approx(case.expected["w1"], rel=1e-9)
    assert energy(f, g).value == pytest.approx(case.expected["energy"], rel=1e-9)
    assert kolmogorov_smirnov(f, g).value == pytest.approx(case.expected["ks_stat"], rel=1e-9)
