"""A year of flights from three airports: what is reported of their delays holds, and merging changes no bit."""

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streams.distributions.anova import FrechetAnova
from streams.distributions.cdf import energy, kolmogorov_smirnov
from streams.distributions.global_regression import GlobalFrechetRegression
from streams.distributions.grid import Grid
from streams.distributions.means import FrechetMean
from streams.distributions.sources import of_sample, of_sketch, on_grid
from streams.distributions.wasserstein import distance_matrix, wasserstein
from streams.sketches.keyed import KeyedSketches
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Sketch
from streams.sketches.wire import merge_bytes, to_bytes

pytestmark = pytest.mark.reference

SCHEME = Scheme(alpha=0.01, resolution=1.0)
GRID = Grid.midpoints(100)
ORIGINS = ("EWR", "JFK", "LGA")
LEVELS = np.linspace(0.005, 0.995, 100)


@pytest.fixture(scope="module")
def flights(refdata: Path) -> pd.DataFrame:
    events = pd.read_csv(refdata / "stats/datasets/nycflights13_events.csv.gz")
    first = date(2013, 1, 1)
    dates = pd.to_datetime({"year": 2013, "month": events.month, "day": events.day})
    events["doy"] = (dates - pd.Timestamp(first)).dt.days
    return events


@pytest.fixture(scope="module")
def samples(flights: pd.DataFrame) -> list[np.ndarray]:
    kept = flights.dropna(subset=["dep_delay"])
    return [np.asarray(day, np.float64) for _, day in kept.groupby("doy").dep_delay]


@pytest.fixture(scope="module")
def sketches(samples: list[np.ndarray]) -> list[Sketch]:
    made = []
    for day in samples:
        made.append(Sketch(SCHEME))
        made[-1].update(day)
    return made


@pytest.fixture(scope="module")
def exact_gram(samples: list[np.ndarray]) -> np.ndarray:
    """Inner products of the days' exact centred quantile functions, from their exact distances."""
    functions = [of_sample(day) for day in samples]
    n = len(functions)
    squared = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            squared[i, j] = squared[j, i] = wasserstein(functions[i], functions[j]).value ** 2
    centre = np.eye(n) - 1 / n
    return -centre @ squared @ centre / 2


def test_three_airports_merged_are_the_pooled_ones_bit_for_bit(flights: pd.DataFrame) -> None:
    assert len(flights) == 336_776
    pooled = KeyedSketches(365, SCHEME)
    pooled.update(flights.doy, flights.dep_delay)
    apart = {origin: KeyedSketches(365, SCHEME) for origin in ORIGINS}
    for origin, part in flights.groupby("origin"):
        apart[origin].update(part.doy, part.dep_delay)
    for day in range(365):
        whole = to_bytes(pooled.sketch(day))
        for order in (ORIGINS, ORIGINS[::-1]):
            parts = [to_bytes(apart[origin].sketch(day)) for origin in order]
            assert to_bytes(merge_bytes(parts)) == whole
    assert sum(pooled.sketch(day).missing for day in range(365)) == flights.dep_delay.isna().sum()


def test_statistics_of_airports_merged_are_the_pooled_ones_bit_for_bit(flights: pd.DataFrame) -> None:
    kept = flights.dropna(subset=["dep_delay"])
    vectors, labels, x = [], [], []
    for (doy, origin), delays in kept.groupby(["doy", "origin"]).dep_delay:
        sketch = Sketch(SCHEME)
        sketch.update(delays)
        vectors.append(of_sketch(sketch).on(GRID))
        labels.append(origin)
        x.append(np.cos(2 * np.pi * doy / 365))
    q, origin, x = np.array(vectors), np.array(labels), np.array(x)
    for order in (ORIGINS, ORIGINS[::-1]):
        means = [FrechetMean(GRID, resolution=1e-4).fit(q[origin == o]) for o in order]
        lines = [
            GlobalFrechetRegression(GRID, resolutions=(1e-6, 1e-4)).fit(x[origin == o], q[origin == o])
            for o in order
        ]
        tests = [FrechetAnova(GRID, resolution=1e-4).fit(q[origin == o], origin[origin == o]) for o in order]
        mean, line, test = means[0], lines[0], tests[0]
        for i in (1, 2):
            mean.merge(means[i])
            line.merge(lines[i])
            test.merge(tests[i])
        pooled_mean = FrechetMean(GRID, resolution=1e-4).fit(q)
        pooled_line = GlobalFrechetRegression(GRID, resolutions=(1e-6, 1e-4)).fit(x, q)
        assert mean.mean_.tobytes() == pooled_mean.mean_.tobytes()
        assert mean.variance_ == pooled_mean.variance_
        assert line.predict([0.5]).tobytes() == pooled_line.predict([0.5]).tobytes()
        assert (line.r2(), line.f_test()) == (pooled_line.r2(), pooled_line.f_test())
        assert test.test() == FrechetAnova(GRID, resolution=1e-4).fit(q, origin).test()


def test_quantiles_moments_and_distances_hold(samples: list[np.ndarray], sketches: list[Sketch]) -> None:
    for day, sketch in zip(samples, sketches, strict=True):
        found, exact = sketch.quantiles(LEVELS), of_sample(day).at(LEVELS)
        assert ((found.lower <= exact) & (exact <= found.upper)).all()
        assert sketch.sum_steps == day.sum()
        assert sketch.variance == pytest.approx(day.var(), rel=1e-12)
    for i in range(0, 364, 7):
        f, g = of_sketch(sketches[i]), of_sketch(sketches[i + 1])
        true_f, true_g = of_sample(samples[i]), of_sample(samples[i + 1])
        for order in (1.0, 2.0, 3.0):
            assert wasserstein(true_f, true_g, order).value in wasserstein(f, g, order)
        assert kolmogorov_smirnov(true_f, true_g).value in kolmogorov_smirnov(f, g)
        assert energy(true_f, true_g).value in energy(f, g)


def test_distances_variance_and_r2_hold(
    sketches: list[Sketch], exact_gram: np.ndarray, refdata: Path
) -> None:
    vectors = on_grid([of_sketch(sketch) for sketch in sketches], GRID, averages=True)
    values, bounds = distance_matrix(vectors)
    size = exact_gram.diagonal()
    exact = np.sqrt(np.maximum(size[:, None] + size[None, :] - 2 * exact_gram, 0.0))
    assert (np.abs(values - exact) <= bounds + 1e-6).all()
    model = FrechetMean(GRID).fit(vectors.values, errors=vectors.errors)
    assert float(size.mean()) in model.variance_
    with (refdata / "stats/datasets/nycflights13_daily_dep_delay_quantiles.csv").open() as file:
        table = list(csv.DictReader(file))
    names = ("wind_speed", "precip", "visib", "temp")
    rows = [row for row in table if all(row[name] not in {"", "NA"} for name in names)]
    x = np.array([[float(row[name]) for name in names] for row in rows])
    days = np.array([int(row["doy"]) - 1 for row in rows])
    chosen = exact_gram[np.ix_(days, days)]
    centre = np.eye(len(days)) - 1 / len(days)
    gram = centre @ chosen @ centre
    design = np.c_[np.ones(len(x)), x]
    residual = np.eye(len(x)) - design @ np.linalg.pinv(design)
    r2 = 1 - float(np.trace(residual @ gram) / np.trace(gram))
    regression = GlobalFrechetRegression(GRID).fit(x, vectors.values[days], errors=vectors.errors[days])
    found = regression.r2().unprojected
    assert r2 in found
    # The grid averages the last hundredth of each day, hours of delay, into one number: the interval knows.
    assert found.value == pytest.approx(r2, abs=0.02)
