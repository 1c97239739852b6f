"""Measure sketches and distribution methods on one core: python -m benchmarks.shape."""

from __future__ import annotations

import os

# One core means one thread; this has to be said before numpy loads its libraries.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable

import numpy as np

from streams.distributions.global_regression import GlobalFrechetRegression
from streams.distributions.grid import Grid
from streams.distributions.sources import of_sketch, on_grid
from streams.distributions.wasserstein import distance_matrix, wasserstein
from streams.sketches.keyed import KeyedSketches
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Sketch
from streams.sketches.wire import merge_bytes, to_bytes


def main() -> None:
    """Print one line a measure: the best of several runs, in CPU time of this process."""
    rng = np.random.default_rng(0)
    n = 1 << 23
    x = rng.lognormal(0, 1, n) * np.where(rng.random(n) < 0.5, -1, 1)
    x[::1_000_003] = np.nan
    for resolution in (1e-3, 1e-6):
        scheme = Scheme(resolution=resolution)
        one, many = Sketch(scheme), KeyedSketches(1000, scheme)
        keys = rng.integers(0, 1000, n // 4)
        took = _best(lambda: one.update(x))  # noqa: B023
        print(f"update, one key, resolution {resolution:g}: {n / took / 1e6:.1f} M values/s")
        took = _best(lambda: many.update(keys, x[: n // 4]))  # noqa: B023
        print(f"update, 1,000 keys, resolution {resolution:g}: {n / 4 / took / 1e6:.1f} M values/s")
    for size, name in ((100_000, "100,000 values each"), (2_000, "2,000 values each")):
        images = [to_bytes(_sketch(rng.lognormal(0, 1, size))) for _ in range(100)] * 100
        took = _best(lambda: merge_bytes(images))  # noqa: B023
        print(
            f"merge 10,000 serialized sketches ({name}): {took * 1e3:.1f} ms; {len(images[0])} bytes a sketch"
        )
    for spread in (0.3, 1.0):
        one, two = (_sketch(rng.lognormal(shift, spread, 100_000)) for shift in (0.0, 0.1))
        f, g = of_sketch(one), of_sketch(two)
        took = _best(lambda: [wasserstein(f, g) for _ in range(1000)]) / 1000  # noqa: B023
        anew = _best(lambda: [wasserstein(of_sketch(one), of_sketch(two)) for _ in range(1000)]) / 1000  # noqa: B023
        bins = f"{len(f.start)} and {len(g.start)} bins"
        print(f"W2 of two sketches ({bins}): {took * 1e6:.1f} us; from counts anew: {anew * 1e6:.1f} us")
    functions = [of_sketch(_sketch(rng.lognormal(0, 1, 5_000))) for _ in range(1000)]
    took = _best(lambda: distance_matrix(on_grid(functions, Grid.midpoints(256))), 3)
    print(f"distance matrix of 1,000 sketches on 256 levels, errors included: {took:.2f} s")
    grid, p = Grid.midpoints(100), rng.normal(size=(100, 3))
    q = np.sort(rng.normal(size=(100, 100)), axis=1) + p[:, :1]
    took = _best(lambda: GlobalFrechetRegression(grid).fit(p, q).predict(p), 20)
    print(f"Fréchet regression, n = m = k = 100, fit and predict: {took * 1e3:.2f} ms")


def _sketch(values: np.ndarray) -> Sketch:
    sketch = Sketch()
    sketch.update(values)
    return sketch


def _best(call: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
