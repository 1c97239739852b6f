import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streams.distributions import divergences as div
from streams.distributions import parametric
from streams.distributions.densities import between_densities
from streams.distributions.errors import EmptyDistributionError, GridMismatchError, NotFiniteError
from streams.distributions.two_sample import mmd, two_sample_tests
from tests.streams.distributions.cases import load

ALL = [div.fisher_rao, div.hellinger, div.kullback_leibler, div.jensen_shannon, div.psi]
COUNTS = st.lists(st.integers(0, 1000), min_size=6, max_size=6).filter(any)


def test_divergences_of_two_coins_by_hand() -> None:
    p, q = [1, 3], [2, 2]
    bc = np.sqrt(0.125) + np.sqrt(0.375)
    assert div.fisher_rao(p, q).value == pytest.approx(np.arccos(bc))
    assert div.hellinger(p, q).value == pytest.approx(np.sqrt(1 - bc))
    assert div.kullback_leibler(p, q).value == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert div.psi(p, q).value == pytest.approx(-0.25 * np.log(0.5) + 0.25 * np.log(1.5))


def test_disjoint_distributions_are_as_far_apart_as_can_be() -> None:
    p, q = [1, 0], [0, 5]
    assert div.fisher_rao(p, q).value == pytest.approx(np.pi / 2)
    assert div.hellinger(p, q).value == 1
    assert div.jensen_shannon(p, q).value == pytest.approx(np.log(2))
    assert div.kullback_leibler(p, q).value == np.inf
    assert div.kullback_leibler(p, q, pseudocount=0.5).value < np.inf


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_merging_bins_never_raises_a_divergence(p: list[int], q: list[int]) -> None:
    """The data processing inequality, on which the interval of a binned divergence rests."""
    a, b = np.array(p), np.array(q)
    for divergence in ALL:
        fine, coarse = divergence(a, b), divergence(a.reshape(3, 2).sum(axis=1), b.reshape(3, 2).sum(axis=1))
        assert coarse.value <= fine.value + 1e-12
        assert fine.value in coarse


@settings(deadline=None)
@given(COUNTS)
def test_every_divergence_of_equal_distributions_is_zero(p: list[int]) -> None:
    for divergence in ALL:
        assert divergence(p, [3 * c for c in p]).value == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("kind", [div.FISHER_RAO, div.HELLINGER, div.KL, div.JS, div.PSI, div.BHATTACHARYYA])
def test_quadratures_bracket_the_divergence_of_piecewise_linear_densities(kind: div.Divergence) -> None:
    x = np.linspace(0, 1, 6)
    f, g = np.array([1, 3, 2, 1, 0.5, 2]), np.array([2, 1, 1, 3, 1, 1.0])
    fine = np.linspace(0, 1, 200_001)
    exact = between_densities(kind, fine, np.interp(fine, x, f), np.interp(fine, x, g)).value
    found = between_densities(kind, x, f, g)
    assert found.lower <= exact <= found.upper
    assert found.bound < 0.5


def test_smooth_densities_are_integrated_to_the_last_digits() -> None:
    x = np.linspace(-40, 40, 2001)
    found = between_densities(div.FISHER_RAO, x, stats.norm.pdf(x, 0, 1), stats.norm.pdf(x, 1.5, 2.5))
    assert found.value == pytest.approx(np.arccos(parametric.normal_bhattacharyya(0, 1, 1.5, 2.5)), abs=1e-12)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (GridMismatchError, lambda: div.hellinger([1, 2], [1, 2, 3])),
        (GridMismatchError, lambda: div.hellinger([[1]], [[1]])),
        (NotFiniteError, lambda: div.psi([1, -2], [1, 2])),
        (EmptyDistributionError, lambda: div.psi([0, 0], [1, 2])),
        (GridMismatchError, lambda: between_densities(div.KL, [0, 1], [1, 1, 1], [1, 1])),
        (EmptyDistributionError, lambda: between_densities(div.KL, [0, 1], [0, 0], [1, 1])),
        (NotFiniteError, lambda: between_densities(div.KL, [0, 1], [np.nan, 0], [1, 1])),
        (NotFiniteError, lambda: parametric.normal_fisher_rao(0, 0, 1, 1)),
        (NotFiniteError, lambda: parametric.poisson_fisher_rao(-1, 2)),
        (NotFiniteError, lambda: parametric.bernoulli_fisher_rao(-1, 2)),
        (EmptyDistributionError, lambda: mmd([1.0], [1.0, 2.0])),
        (NotFiniteError, lambda: mmd([1.0, 1.0], [1.0, 1.0])),
        (NotFiniteError, lambda: mmd([1.0, np.inf], [1.0, 1.0])),
        (EmptyDistributionError, lambda: mmd([], [1.0, 2.0])),
    ],
)
def test_bad_input_has_a_typed_error(error: type[Exception], call) -> None:
    with pytest.raises(error):
        call()


def test_the_biased_mmd_of_equal_samples_is_zero() -> None:
    found = mmd([0.0, 1.0, 3.0], [0.0, 1.0, 3.0], bandwidth=1.0)
    assert found.biased == pytest.approx(0)
    assert found.unbiased < 0


@pytest.mark.reference
def test_closed_forms(refdata) -> None:
    case = load(refdata, "P04_fisher_rao_closed_forms")
    given_, expected = case.input, case.expected
    for known in expected["normal"]:
        args = known["mu1"], known["s1"], known["mu2"], known["s2"]
        assert parametric.normal_fisher_rao(*args) == pytest.approx(known["fisher_rao_parametric"], abs=1e-9)
        bc = parametric.normal_bhattacharyya(*args)
        assert bc == pytest.approx(known["bhattacharyya_coef"], abs=1e-9)
        x = np.linspace(-60, 60, 24_001)
        f, g = stats.norm.pdf(x, *args[:2]), stats.norm.pdf(x, *args[2:])
        assert between_densities(div.FISHER_RAO, x, f, g).value == pytest.approx(
            known["fisher_rao_nonparametric"], abs=1e-9
        )
        assert between_densities(div.HELLINGER, x, f, g).value == pytest.approx(known["hellinger"], abs=1e-9)
    p, q = given_["categorical_P"], given_["categorical_Q"]
    assert parametric.categorical_fisher_rao(p, q) == pytest.approx(expected["categorical"], abs=1e-9)
    for function, name in (
        (parametric.exponential_fisher_rao, "exponential_rates"),
        (parametric.poisson_fisher_rao, "poisson_means"),
        (parametric.bernoulli_fisher_rao, "bernoulli_p"),
    ):
        assert function(*given_[name]) == pytest.approx(expected[name.split("_")[0]], abs=1e-9)


@pytest.mark.reference
def test_statistics_of_two_samples(refdata) -> None:
    case = load(refdata, "P07_two_sample_statistics")
    a, b, edges = case.input["a"], case.input["b"], case.input["hist_edges"]
    known, pseudocount = case.expected, case.input["hist_pseudocount"]
    p, q = np.histogram(a, edges)[0], np.histogram(b, edges)[0]
    for divergence, name in (
        (div.psi, "psi"), (div.jensen_shannon, "js_nats"), (div.hellinger, "hellinger"), (div.kullback_leibler, "kl_ab"),
    ):  # fmt: skip
        assert divergence(p, q, pseudocount).value == pytest.approx(known[name], rel=1e-9)
    kernel = mmd(a, b)
    assert kernel.bandwidth == pytest.approx(known["median_heuristic"], rel=1e-9)
    assert kernel.unbiased == pytest.approx(known["mmd2_unbiased"], rel=1e-9)
    assert kernel.biased == pytest.approx(known["mmd2_biased"], rel=1e-9)
    tests = two_sample_tests(a, b, edges)
    assert tests.ks == pytest.approx((known["ks_stat"], known["ks_p_asymp"]), rel=1e-9)
    assert tests.cramer_von_mises == pytest.approx((known["cvm_stat"], known["cvm_p"]), rel=1e-9)
    assert tests.anderson_darling == pytest.approx(known["ad_stat"], rel=1e-9)
    assert tests.epps_singleton == pytest.approx((known["es_stat"], known["es_p"]), rel=1e-9)
    assert tests.mann_whitney == pytest.approx((known["mwu"], known["mwu_p"]), rel=1e-9)
    assert tests.g_test == pytest.approx(known["G_stat_chi2"], rel=1e-9)
