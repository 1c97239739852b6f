import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.distributions.errors import (
    GridMismatchError,
    NeverAddedError,
    NonMonotoneError,
    NotFittedError,
    TooFewDistributionsError,
)
from streams.distributions.grid import Grid
from streams.distributions.means import FrechetMean, frechet_mean, frechet_variance
from streams.distributions.sources import of_row, of_sample, on_grid
from streams.sketches.mapping import LogMapping
from tests.streams.distributions.cases import load

GRID = Grid.midpoints(8)


def rows(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.sort(rng.normal(1000, 5, size=(n, len(GRID))), axis=1)


def test_mean_and_variance_of_three_by_hand() -> None:
    grid = Grid.midpoints(2)
    q = [[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]]
    assert frechet_mean(grid, q).tolist() == [2.0, 4.0]
    assert frechet_mean(grid, q, [1, 0, 1]).tolist() == [2.0, 4.0]
    assert frechet_mean(grid, q, [3, 1, 0]).tolist() == [0.5, 2.5]
    assert frechet_variance(grid, q).value == pytest.approx(8 / 3)
    assert frechet_variance(grid, q, [1, 0, 1]).value == pytest.approx(4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_intervals_hold_the_barycenter_and_variance_of_the_data(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.lognormal(rng.normal(), 0.5, size=rng.integers(1, 50)) for _ in range(4)]
    mapping, grid = LogMapping(alpha=0.05), Grid.midpoints(m)
    functions = []
    for x in samples:
        codes, counts = np.unique(mapping.index(x), return_counts=True)
        functions.append(of_row(mapping, codes, counts, x.min(), x.max()))
    model = FrechetMean(grid)
    sketched = on_grid(functions, grid)
    model.fit(sketched.values, errors=sketched.errors)
    fine = (np.arange(200_000) + 0.5) / 200_000
    exact = np.stack([of_sample(x).at(fine) for x in samples])
    steps = model.mean_[np.searchsorted(grid.cells, fine) - 1]
    assert np.sqrt(((steps - exact.mean(axis=0)) ** 2).mean()) <= model.mean_error_ * (1 + 1e-3) + 1e-9
    variance = ((exact - exact.mean(axis=0)) ** 2).mean()
    assert model.variance_.lower * (1 - 1e-3) <= variance <= model.variance_.upper * (1 + 1e-3)


def test_streaming_equals_batch() -> None:
    q = rows(50)
    streamed = FrechetMean(GRID)
    for part in np.array_split(q, 7):
        streamed.partial_fit(part, errors=np.full(len(part), 0.1))
    assert streamed.mean_ == pytest.approx(frechet_mean(GRID, q), rel=1e-13)
    assert streamed.variance_.value == pytest.approx(frechet_variance(GRID, q).value, rel=1e-10)
    assert streamed.mean_error_ == pytest.approx(0.1)
    assert streamed.score(q) == pytest.approx(-streamed.variance_.value)
    assert streamed.predict([1, 2]).shape == (2, 8)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(6)), st.sampled_from([1.0, 0.001, 1e-7]))
def test_parts_merged_in_any_order_give_the_same_bits(order: list[int], resolution: float) -> None:
    parts = np.array_split(rows(30), 6)
    shards = [FrechetMean(GRID, resolution=resolution).fit(part) for part in parts]
    merged = shards[order[0]]
    for i in order[1:]:
        merged.merge(shards[i])
    pooled = FrechetMean(GRID, resolution=resolution).fit(rows(30))
    assert merged.mean_.tobytes() == pooled.mean_.tobytes()
    assert merged.variance_.value == pooled.variance_.value


def test_what_was_added_can_be_taken_out_and_nothing_else() -> None:
    q, other = rows(10), rows(10, seed=5)
    both, part = (FrechetMean(GRID, resolution=1e-6).fit(x) for x in (q, q[:4]))
    both.moments_.subtract(part.moments_)
    assert both.mean_.tobytes() == FrechetMean(GRID, resolution=1e-6).fit(q[4:]).mean_.tobytes()
    with pytest.raises(NeverAddedError):
        both.moments_.subtract(FrechetMean(GRID, resolution=1e-6).fit(other).moments_)
    assert both.moments_.count == 6
    with pytest.raises(GridMismatchError):
        FrechetMean(GRID).fit(q).moments_.subtract(FrechetMean(GRID).fit(q).moments_)


def test_bad_input_has_typed_errors() -> None:
    with pytest.raises(NotFittedError):
        _ = FrechetMean(GRID).mean_
    with pytest.raises(NonMonotoneError):
        FrechetMean(GRID).fit(rows(3)[:, ::-1])
    with pytest.raises(TooFewDistributionsError):
        frechet_mean(GRID, rows(2), [0, 0])
    with pytest.raises(GridMismatchError):
        frechet_mean(GRID, rows(2), [1, 2, 3])
    with pytest.raises(GridMismatchError):
        FrechetMean(GRID).fit(rows(2), errors=[-1.0, 1.0])


@pytest.mark.reference
def test_frechet_mean_and_variance(refdata) -> None:
    case = load(refdata, "R01_frechet_mean_wasserstein")
    grid, known = Grid.trapezoid(case.input["qSup"]), case.expected
    q = case.input["qin"]
    weighted = frechet_mean(grid, q, case.input["weights"])
    assert frechet_mean(grid, q) == pytest.approx(np.array(known["qout_equal"]), abs=1e-10)
    assert weighted == pytest.approx(np.array(known["qout_weighted_exact"]), abs=1e-10)
    assert weighted == pytest.approx(np.array(known["qout_weighted_frechet"]), abs=0.005)
    assert frechet_variance(grid, q).value == pytest.approx(known["frechet_variance"], abs=1e-10)
