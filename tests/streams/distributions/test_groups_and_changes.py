import numpy as np
import pytest

from streams.distributions.anova import FrechetAnova
from streams.distributions.change_points import FrechetChangePoint, limit_tail, scan
from streams.distributions.errors import (
    DistributionError,
    GridMismatchError,
    NotFittedError,
    TooFewDistributionsError,
)
from streams.distributions.grid import Grid
from tests.streams.distributions.cases import load

GRID = Grid.midpoints(10)


def rows(n: int, shift: float = 0.0, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 1e4 + shift + spread * (rng.normal(size=(n, 1)) + GRID.levels * np.exp(rng.normal(0, 0.3, (n, 1))))


def direct(q: np.ndarray, labels: np.ndarray) -> float:
    """The statistic straight from the definition of Dubey and Müller."""
    n, parts = len(q), [q[labels == g] for g in np.unique(labels)]
    d2 = [GRID.inner(p - p.mean(axis=0), p - p.mean(axis=0)) for p in parts]
    share, v = np.array([len(p) / n for p in parts]), np.array([d.mean() for d in d2])
    s2 = np.array([(d**2).mean() - d.mean() ** 2 for d in d2])
    pooled = GRID.inner(q - q.mean(axis=0), q - q.mean(axis=0)).mean()
    f = pooled - share @ v
    u = sum(
        share[j] * share[k] / (s2[j] * s2[k]) * (v[j] - v[k]) ** 2 for j in range(len(v)) for k in range(j)
    )
    return float(n * u / (share / s2).sum() + n * f**2 / (share**2 * s2).sum())


def groups() -> tuple[np.ndarray, np.ndarray]:
    q = np.concatenate([rows(30, seed=1), rows(25, 0.5, seed=2), rows(20, 0, 1.5, seed=3)])
    return q, np.repeat(["a", "b", "c"], [30, 25, 20])


def test_the_statistic_is_that_of_the_definition() -> None:
    q, labels = groups()
    assert FrechetAnova(GRID).fit(q, labels).test().statistic == pytest.approx(direct(q, labels), rel=1e-9)


def test_streams_merged_equal_the_batch() -> None:
    q, labels = groups()
    order = np.random.default_rng(0).permutation(len(q))
    parts = [FrechetAnova(GRID).fit(q[i], labels[i]) for i in np.array_split(order, 5)]
    merged = parts[3]
    for i in (0, 4, 1, 2):
        merged.merge(parts[i])
    assert merged.test().statistic == pytest.approx(direct(q, labels), rel=1e-9)


def test_rounded_streams_merged_in_any_order_give_the_same_bits() -> None:
    q, labels = groups()
    pooled = FrechetAnova(GRID, resolution=1e-4).fit(q, labels).test()
    for order in ([0, 1, 2], [2, 0, 1]):
        parts = [FrechetAnova(GRID, resolution=1e-4).fit(q[i::3], labels[i::3]) for i in range(3)]
        merged = parts[order[0]].merge(parts[order[1]]).merge(parts[order[2]])
        assert merged.test() == pooled
    assert pooled.statistic == pytest.approx(direct(q, labels), rel=1e-3)


def test_groups_that_differ_are_told_apart_and_equal_ones_are_not() -> None:
    same = FrechetAnova(GRID).fit(rows(200), np.arange(200) % 2).test()
    moved = (
        FrechetAnova(GRID)
        .fit(np.concatenate([rows(100), rows(100, 2.0, seed=9)]), np.repeat([0, 1], 100))
        .test()
    )
    wider = (
        FrechetAnova(GRID)
        .fit(np.concatenate([rows(100), rows(100, 0, 2.0, seed=9)]), np.repeat([0, 1], 100))
        .test()
    )
    assert same.p_value > 0.05
    assert moved.p_value < 1e-4
    assert wider.p_value < 1e-4
    q, labels = np.concatenate([rows(25), rows(25, 2.0, seed=9)]), np.repeat([0, 1], 25)
    found = FrechetAnova(GRID).bootstrap(q, labels, 200, np.random.default_rng(0))
    assert found.bootstrap_p < 0.05


def test_analysis_of_variance_refuses_what_it_cannot_test() -> None:
    with pytest.raises(TooFewDistributionsError):
        FrechetAnova(GRID).fit(rows(5), np.zeros(5)).test()
    with pytest.raises(TooFewDistributionsError):
        FrechetAnova(GRID).fit(rows(5), [0, 0, 0, 0, 1]).test()
    with pytest.raises(DistributionError, match="no scale"):
        FrechetAnova(GRID).fit(np.tile(rows(1), (6, 1)), [0, 0, 0, 1, 1, 1]).test()
    with pytest.raises(GridMismatchError):
        FrechetAnova(GRID).fit(rows(5), [0, 1])
    with pytest.raises(GridMismatchError):
        FrechetAnova(GRID).fit(rows(4), [0, 0, 1, 1]).merge(
            FrechetAnova(GRID, resolution=1.0).fit(rows(4), [0, 0, 1, 1])
        )


def test_a_scan_by_prefix_sums_is_that_of_the_definition() -> None:
    q = np.concatenate([rows(20, seed=1), rows(17, 2.0, seed=2)])
    n = len(q)
    first, values = scan(GRID, q, cut=0.2)
    d2 = GRID.inner(q - q.mean(axis=0), q - q.mean(axis=0))
    s2 = (d2**2).mean() - d2.mean() ** 2
    for i, value in enumerate(values):
        k = first + i
        a, b = q[:k], q[k:]
        v = [GRID.inner(p - o.mean(axis=0), p - o.mean(axis=0)).mean() for p in (a, b) for o in (a, b)]
        t = (v[0] - v[3]) ** 2 + (v[1] - v[0] + v[2] - v[3]) ** 2
        assert value == pytest.approx(n * (k / n) * (1 - k / n) / s2 * t, rel=1e-7)


def test_a_change_is_found_where_it_is() -> None:
    q = np.concatenate([rows(60, seed=1), rows(40, 3.0, seed=2)])
    model = FrechetChangePoint(GRID).fit(q[:70]).partial_fit(q[70:85])
    model.merge(FrechetChangePoint(GRID).fit(q[85:]))
    found = model.test()
    assert found.index == 60
    assert found.p_value < 0.01
    assert model.predict().sum() == 40
    assert model.score(q) == found.statistic
    assert FrechetChangePoint(GRID).fit(rows(100)).test().p_value > 0.05


def test_the_limit_law_has_its_known_quantile() -> None:
    # Andrews (1993), table 1: trimming 0.1 and one parameter, 5% at 9.84, simulated there on a finer walk.
    assert limit_tail(9.84, 0.1, 4000, np.random.default_rng(1)) == pytest.approx(0.05, abs=0.015)


def test_change_points_refuse_what_they_cannot_scan() -> None:
    with pytest.raises(NotFittedError):
        FrechetChangePoint(GRID).test()
    with pytest.raises(TooFewDistributionsError):
        FrechetChangePoint(GRID).fit(rows(3)).test()
    with pytest.raises(DistributionError):
        FrechetChangePoint(GRID, cut=0.6).fit(rows(30)).test()
    with pytest.raises(DistributionError, match="no scale"):
        FrechetChangePoint(GRID).fit(np.tile(rows(1), (30, 1))).test()


@pytest.mark.reference
@pytest.mark.parametrize("name", ["alt", "null"])
def test_anova_of_simulated_groups(refdata, name: str) -> None:
    case = load(refdata, "R07_frechet_anova")
    model = FrechetAnova(Grid.trapezoid(case.input["qSup"]))
    found = model.fit(case.input[f"q_{name}"], case.input[f"group_{name}"]).test()
    assert found.statistic == pytest.approx(case.expected[f"T_{name}"], abs=1e-9)
    assert found.p_value == pytest.approx(case.expected[f"p_{name}"], abs=1e-9)
