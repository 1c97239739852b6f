import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streams.distributions.change_points import FrechetChangePoint
from streams.distributions.errors import (
    GridMismatchError,
    NotFiniteError,
    NotFittedError,
    SingularCovarianceError,
    TooFewDistributionsError,
    ZeroVariancePredictorError,
)
from streams.distributions.ftest import chi_square_mixture_tail, wasserstein_f_test
from streams.distributions.global_regression import GlobalFrechetRegression
from streams.distributions.grid import Grid
from streams.distributions.means import FrechetMean
from streams.distributions.sources import of_row, of_sample, on_grid
from streams.sketches.mapping import LogMapping
from tests.streams.distributions.cases import load

GRID = Grid.midpoints(12)


def sample(n: int = 40, p: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, p))
    location = 500 + x @ np.arange(1, p + 1) + rng.normal(0, 0.2, n)
    return x, location[:, None] + np.exp(0.2 * x[:, :1]) * stats.norm.ppf(GRID.levels)


def test_a_line_through_locations_is_found() -> None:
    x = np.array([0.0, 1.0, 2.0])
    q = np.stack([np.full(12, v) + GRID.levels for v in (1.0, 3.0, 5.0)])
    model = GlobalFrechetRegression(GRID).fit(x, q)
    assert model.predict([0.5, 4.0]) == pytest.approx(np.stack([2 + GRID.levels, 9 + GRID.levels]))
    assert model.score(x, q) == pytest.approx(1.0)


def test_predictions_are_weighted_means_with_the_weights_of_the_definition() -> None:
    x, q = sample()
    model = GlobalFrechetRegression(GRID).fit(x, q)
    at = np.array([0.3, -0.9])
    off = x - x.mean(axis=0)
    s = 1 + off @ np.linalg.inv(off.T @ off / len(x)) @ (at - x.mean(axis=0))
    assert model.predict_unprojected(at) == pytest.approx((s @ q / len(x))[None])
    assert model.fitted.mahalanobis(at[None])[0] == pytest.approx((s**2).mean() - 1)


def test_where_the_projection_binds_both_r2_are_reported() -> None:
    x = np.array([0.0, 0.1, 1.0, 1.1])
    q = np.stack([GRID.levels * scale for scale in (0.1, 0.5, 3.0, 0.0)])
    model = GlobalFrechetRegression(GRID, support=(0.0, 1.0)).fit(x, q)
    far = model.predict([-5.0])
    assert (np.diff(far) >= 0).all()
    assert far.min() >= 0
    assert far.max() <= 1
    found = model.r2(x, np.clip(q, 0, 1))
    assert found.projected.value > found.unprojected.value


def test_weights_count_as_repetitions() -> None:
    x, q = sample(6)
    weights = np.array([1, 2, 1, 3, 1, 1])
    weighted = GlobalFrechetRegression(GRID).fit(x, q, sample_weight=weights).predict([[0.1, 0.2]])
    repeated = GlobalFrechetRegression(GRID).fit(np.repeat(x, weights, 0), np.repeat(q, weights, 0))
    assert weighted == pytest.approx(repeated.predict([[0.1, 0.2]]))


def test_streaming_equals_batch() -> None:
    x, q = sample(60)
    batch, streamed = GlobalFrechetRegression(GRID).fit(x, q), GlobalFrechetRegression(GRID)
    for rows in np.array_split(np.arange(60), 9):
        streamed.partial_fit(x[rows], q[rows])
    assert streamed.predict(x) == pytest.approx(batch.predict(x), rel=1e-10)
    assert streamed.r2().unprojected.value == pytest.approx(batch.r2(x, q).unprojected.value, rel=1e-10)
    assert streamed.f_test([1]).f == pytest.approx(batch.f_test([1]).f, rel=1e-10)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(5)))
def test_parts_merged_in_any_order_give_the_same_bits(order: list[int]) -> None:
    x, q = sample(25)
    resolutions = ([1e-3, 1e-4], 1e-5)
    cuts = np.array_split(np.arange(25), 5)
    parts = [GlobalFrechetRegression(GRID, resolutions=resolutions).fit(x[rows], q[rows]) for rows in cuts]
    merged = parts[order[0]]
    for i in order[1:]:
        merged.merge(parts[i])
    pooled = GlobalFrechetRegression(GRID, resolutions=resolutions).fit(x, q)
    assert merged.predict(x).tobytes() == pooled.predict(x).tobytes()
    assert merged.r2() == pooled.r2()
    assert merged.f_test() == pooled.f_test()
    plain = GlobalFrechetRegression(GRID).fit(x, q)
    assert pooled.predict(x) == pytest.approx(plain.predict(x), abs=0.01)


def test_intervals_hold_predictions_and_r2_of_the_data() -> None:
    rng = np.random.default_rng(7)
    mapping, grid = LogMapping(alpha=0.01), Grid.midpoints(40)
    x = rng.uniform(0, 1, 30)
    samples = [rng.lognormal(1 + 2 * xi + rng.normal(0, 0.1), 0.4, 80) for xi in x]
    functions = []
    for values in samples:
        codes, counts = np.unique(mapping.index(values), return_counts=True)
        functions.append(of_row(mapping, codes, counts, values.min(), values.max()))
    sketched = on_grid(functions, grid)
    model = GlobalFrechetRegression(grid).fit(x, sketched.values, errors=sketched.errors)
    # 80 values each are exact on 80 levels.
    fine = Grid.midpoints(80)
    exact_q = np.stack([of_sample(values).on(fine) for values in samples])
    exact = GlobalFrechetRegression(fine).fit(x, exact_q)
    at = np.array([-0.5, 0.2, 1.5])
    steps = model.predict(at)[:, np.searchsorted(grid.cells, fine.levels) - 1]
    assert (fine.norm(steps - exact.predict(at)) <= model.error(at)).all()
    found, known = model.r2(x, sketched.values), exact.r2(x, exact_q)
    assert known.unprojected.value in model.r2().unprojected
    assert known.projected.value in found.projected
    assert found.projected.bound < 0.5
    assert model.r2().unprojected.bound < found.projected.bound


def test_a_tail_of_a_chi_square_mixture() -> None:
    assert chi_square_mixture_tail(3.0, np.array([0.5, 0.5]), 3) == pytest.approx(stats.chi2.sf(6.0, 6))
    c = np.array([1.0, 0.6, 0.1])
    draws = stats.chi2.rvs(2, size=(400_000, 3), random_state=1) @ c
    for x in (0.5, 3.4, 8.0, 15.0):
        assert chi_square_mixture_tail(x, c, 2) == pytest.approx((draws > x).mean(), rel=0.05)
    assert chi_square_mixture_tail(0.0, c, 2) == 1.0


def test_the_f_test_holds_its_level_and_has_power() -> None:
    rng = np.random.default_rng(11)
    rejected = [0, 0]
    for _ in range(300):
        x = rng.normal(size=(60, 2))
        location = x[:, 0] + rng.normal(size=60)
        scale = np.exp(rng.normal(0, 0.3, 60))
        q = location[:, None] + scale[:, None] * stats.norm.ppf(GRID.levels)
        model = GlobalFrechetRegression(GRID).fit(x, q)
        for column in (0, 1):
            rejected[column] += model.f_test([column]).mixture_p < 0.05
    assert rejected[0] > 295
    assert 4 <= rejected[1] <= 32


def test_partial_and_global_tests_are_consistent() -> None:
    x, q = sample(50)
    model = GlobalFrechetRegression(GRID).fit(x, q)
    reduced = GlobalFrechetRegression(GRID).fit(x[:, :1], q)
    gain = 50 * float((reduced.fitted.residual - model.fitted.residual).diagonal() @ GRID.weights)
    assert model.f_test([1]).statistic == pytest.approx(gain)
    assert model.f_test([0, 1]) == model.f_test()


def test_a_perfect_fit_has_no_p_value_but_zero() -> None:
    found = wasserstein_f_test(1.0, 1, np.zeros((12, 12)), GRID, 10)
    assert (found.p_value, found.f) == (0.0, np.inf)
    assert wasserstein_f_test(0.0, 1, np.zeros((12, 12)), GRID, 10).p_value == 1.0


def test_bad_input_has_typed_errors() -> None:
    x, q = sample(10)
    fresh = GlobalFrechetRegression(GRID)
    with pytest.raises(NotFittedError):
        fresh.predict(x)
    with pytest.raises(ZeroVariancePredictorError, match="predictor 1"):
        _ = fresh.fit(np.c_[x[:, 0], np.full(10, 0.1)], q).fitted
    with pytest.raises(SingularCovarianceError):
        _ = fresh.fit(np.c_[x[:, 0], 3 * x[:, 0] + 1], q).fitted
    with pytest.raises(TooFewDistributionsError):
        _ = fresh.fit(x[:1], q[:1]).fitted
    with pytest.raises(GridMismatchError):
        fresh.fit(x[:5], q)
    with pytest.raises(NotFiniteError):
        fresh.fit(np.full((10, 1), np.nan), q)
    with pytest.raises(GridMismatchError):
        fresh.fit(x, q).predict([[1.0, 2.0, 3.0]])
    with pytest.raises(GridMismatchError):
        fresh.fit(x, q).f_test([2])
    with pytest.raises(GridMismatchError):
        fresh.fit(x, q).merge(GlobalFrechetRegression(GRID, resolutions=(1.0, 1.0)).fit(x, q))


@pytest.mark.reference
def test_regression_on_one_predictor(refdata) -> None:
    case = load(refdata, "R02_global_frechet_regression_p1")
    given_, known = case.input, case.expected
    model = GlobalFrechetRegression(Grid.trapezoid(given_["qSup"])).fit(given_["x"], given_["qin"])
    found = model.predict(given_["xout"])
    assert found == pytest.approx(np.array(known["qout_exact"]), abs=1e-9)
    assert found == pytest.approx(np.array(known["qout_frechet"]), abs=0.005)
    r2 = model.score(given_["x"], given_["qin"])
    assert r2 == pytest.approx(known["R2_exact"], abs=1e-9)
    assert r2 == pytest.approx(known["R2_frechet"], abs=1e-4)


@pytest.mark.reference
def test_f_test_and_r2_of_simulated_responses(refdata) -> None:
    case = load(refdata, "R16_wasserstein_regression_F_sim")
    given_, known = case.input, case.expected
    x = np.stack([given_["x1"], given_["x2"]], axis=1)
    model = GlobalFrechetRegression(Grid.trapezoid(given_["t_vec"])).fit(x, given_["Y"])
    test = model.f_test()
    assert model.r2().unprojected.value == pytest.approx(known["R2"], abs=1e-8)
    assert test.statistic == pytest.approx(known["wasserstein_SSR"], rel=1e-8)
    assert test.f == pytest.approx(known["F_satterthwaite"], rel=1e-6)
    assert test.df == pytest.approx(known["chisq_df"], rel=1e-6)
    assert test.p_value == pytest.approx(known["p_satterthwaite"], rel=1e-6)
    assert model.predict(x)[0] == pytest.approx(np.array(known["Qfit_row1"]), abs=1e-8)


def _flights(refdata: Path, case) -> tuple[np.ndarray, np.ndarray]:
    with (refdata / "stats" / case.input["dataset"]).open() as file:
        table = [row for row in csv.DictReader(file) if not {"", "NA"} & set(row.values())]
    table.sort(key=lambda row: int(row["doy"]))
    names = [f"q{round(100 * p):02d}" for p in case.input["p"]]
    return (
        np.array([[float(row[name]) for name in case.input["predictors"]] for row in table]),
        np.array([[float(row[name]) for name in names] for row in table]),
    )


@pytest.mark.reference
def test_delays_of_flights_by_weather(refdata) -> None:
    case = load(refdata, "R23_nycflights_dep_delay")
    x, q = _flights(refdata, case)
    grid, known = Grid.trapezoid(case.input["p"]), case.expected
    assert len(q) == known["n_days"]
    mean = FrechetMean(grid).fit(q)
    assert mean.mean_ == pytest.approx(np.array(known["barycenter"]), abs=1e-8)
    assert mean.variance_.value == pytest.approx(known["frechet_variance"], abs=1e-8)
    model = GlobalFrechetRegression(grid).fit(x, q)
    assert model.score(x, q) == pytest.approx(known["R2"], abs=1e-8)
    assert model.predict(case.input["Z"]) == pytest.approx(np.array(known["Qhat"]), abs=1e-7)
    change = FrechetChangePoint(grid).fit(q).test()
    assert change.index == known["cpd_tau_index"]
    assert change.statistic == pytest.approx(known["cpd_max_stat"], abs=1e-6)
