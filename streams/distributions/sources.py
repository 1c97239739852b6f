"""Quantile functions of sketches, samples, quantile vectors and densities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import (
    EmptyDistributionError,
    GridMismatchError,
    NotFiniteError,
    TooFewDistributionsError,
)
from streams.distributions.grid import Floats, Grid
from streams.distributions.quantile_function import QuantileFunction
from streams.sketches.mapping import LogMapping
from streams.sketches.sketch import Sketch


def of_sample(values: ArrayLike, weights: ArrayLike | None = None) -> QuantileFunction:
    """Return the exact inverse CDF of a sample, shape (n,), with positive weights where given."""
    x = np.asarray(values, np.float64).ravel()
    if not len(x):
        raise EmptyDistributionError("an empty sample has no quantiles")
    if not np.isfinite(x).all():
        raise NotFiniteError("a sample must be finite; leave NaN and infinite values out")
    if weights is None:
        x = np.sort(x)
        return QuantileFunction(np.arange(len(x) + 1) / len(x), x, x, x, x)
    w = np.asarray(weights, np.float64).ravel()
    if w.shape != x.shape:
        raise GridMismatchError("a sample needs one weight for each value")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise NotFiniteError("weights must be finite and not negative")
    if not w.sum() > 0:
        raise EmptyDistributionError("all weights are 0, so there is no distribution")
    order = np.argsort(x, kind="stable")
    order = order[w[order] > 0]
    x = x[order]
    return QuantileFunction(_breaks(w[order]), x, x, x, x)


def of_bins(
    lower: Floats, upper: Floats, counts: ArrayLike, minimum: float, maximum: float
) -> QuantileFunction:
    """Return the quantile function of counts in ascending bins, linear inside bins; the minimum and maximum are exact."""
    c = np.asarray(counts, np.float64)
    if not len(c) or not c.sum() > 0:
        raise EmptyDistributionError("an empty sketch has no quantiles")
    low = np.minimum(np.maximum(lower, minimum), maximum)
    high = np.minimum(np.maximum(upper, minimum), maximum)
    return QuantileFunction(_breaks(c), low, high, low, high)


def of_row(
    mapping: LogMapping, codes: ArrayLike, counts: ArrayLike, minimum: float, maximum: float
) -> QuantileFunction:
    """Return the quantile function of a sketch given as ascending codes with counts, as windows publish it."""
    bins = np.asarray(codes, np.int64)
    lower, upper = mapping.bounds
    return of_bins(lower[bins], upper[bins], counts, minimum, maximum)


def of_sketch(sketch: Sketch) -> QuantileFunction:
    """Return the quantile function of a sketch, linear inside its bins."""
    codes, counts = sketch.rows
    lower, upper = sketch.bounds
    return of_bins(lower[codes], upper[codes], counts, sketch.minimum, sketch.maximum)


def of_quantiles(grid: Grid, values: ArrayLike, *, exact: bool = False) -> QuantileFunction:
    """Return the quantile function of a quantile vector, shape (m,).

    By default the vector stands for itself: the step function on the grid's cells. With ``exact`` its values are quantiles of
    other data: the estimate is linear between levels and the data lie between neighbours. That asks for levels 0 and 1, as
    nothing else bounds the ends.
    """
    q = grid.check(values)[0]
    if not exact:
        cells = grid.cells
        if cells[0] > 0 or cells[-1] < 1:
            raise GridMismatchError(
                "this grid does not cover all levels; use one from 0 to 1 or Grid.midpoints"
            )
        return QuantileFunction(cells, q, q, q, q)
    if grid.levels[0] > 0 or grid.levels[-1] < 1:
        raise GridMismatchError("quantiles bound the data behind them only if levels 0 and 1 are among them")
    return QuantileFunction(grid.levels, q[:-1], q[1:], q[:-1], q[1:])


def of_density(x: ArrayLike, density: ArrayLike, pieces: int = 2000) -> QuantileFunction:
    """Return the quantile function of a density given on ascending points, linear between them and rescaled to mass 1.

    Its CDF is quadratic between points and is inverted in closed form. The mass is cut at the points and at ``pieces`` equal
    levels; the exact function rises from one cut to the next, so the values at the cuts bound it.
    """
    support, f = np.asarray(x, np.float64), np.asarray(density, np.float64)
    if support.ndim != 1 or support.shape != f.shape or len(support) < 2:
        raise GridMismatchError("a density needs at least two points and a value at each")
    if not (np.isfinite(support).all() and np.isfinite(f).all() and (f >= 0).all()):
        raise NotFiniteError("a density must be finite and not negative, on finite points")
    step = np.diff(support)
    if not (step > 0).all():
        raise GridMismatchError("the points of a density must ascend strictly")
    mass = step * (f[1:] + f[:-1]) / 2
    total = float(mass.sum())
    if not total > 0:
        raise EmptyDistributionError("the density is 0 everywhere, so there is no distribution")
    cdf = np.concatenate([[0.0], np.cumsum(mass)]) / total
    cdf[-1] = 1.0
    levels = np.union1d(cdf, np.linspace(0.0, 1.0, pieces + 1))
    middle = (levels[1:] + levels[:-1]) / 2
    j = np.clip(np.searchsorted(cdf, middle, side="left") - 1, 0, len(mass) - 1)
    start = _inside(support, f, cdf, total, j, levels[:-1])
    end = np.maximum(_inside(support, f, cdf, total, j, levels[1:]), start)
    return QuantileFunction(levels, start, end, start, end)


def of_law(
    quantile: Callable[[Floats], Floats],
    upper: Callable[[Floats], Floats] | None = None,
    pieces: int = 20_000,
) -> QuantileFunction:
    """Return the quantile function of a law, from its inverse CDF and, for the upper tail's digits, its inverse survival function.

    The pieces are dense towards both ends, where tails carry the distance; what lies beyond a level of 1e-14 is put at that level.
    """
    n = pieces // 10
    half = np.concatenate([np.geomspace(1e-14, 0.01, n), np.linspace(0.01, 0.5, 4 * n)[1:]])
    rest = half[-2::-1]
    values = np.concatenate([quantile(half), quantile(1 - rest) if upper is None else upper(rest)])
    levels = np.concatenate([half, 1 - rest])
    levels[0], levels[-1] = 0.0, 1.0
    return QuantileFunction(levels, values[:-1], values[1:], values[:-1], values[1:])


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Quantile vectors on one grid: ``values`` of shape (n, m), and ``errors`` of shape (n,), bounds of their W2 to the data."""

    grid: Grid
    values: Floats
    errors: Floats

    def __len__(self) -> int:
        return len(self.values)


def on_grid(functions: Sequence[QuantileFunction], grid: Grid, *, averages: bool = False) -> Quantiles:
    """Return quantile functions as quantile vectors on a grid with their errors; there must be at least one.

    The vectors hold the quantiles at the grid's levels or, more accurate where tails are heavy, the averages over its cells.
    """
    if not functions:
        raise TooFewDistributionsError("at least one distribution is needed")
    values = np.stack([f.averages(grid) if averages else f.on(grid) for f in functions])
    errors = np.array([f.grid_error(grid, 2.0, row) for f, row in zip(functions, values, strict=True)])
    return Quantiles(grid, values, errors)


def _breaks(masses: Floats) -> Floats:
    breaks = np.zeros(len(masses) + 1)
    np.cumsum(masses, out=breaks[1:])
    breaks /= breaks[-1]
    return breaks


def _inside(
    x: Floats,
    f: Floats,
    cdf: Floats,
    total: float,
    piece: np.ndarray[tuple[int], np.dtype[np.intp]],
    levels: Floats,
) -> Floats:
    """Invert the quadratic CDF of each level's own piece; the stable root needs no case for equal densities."""
    left, right, step = f[piece], f[piece + 1], np.diff(x)[piece]
    need = np.clip(levels - cdf[piece], 0.0, None) * total
    slope = (right - left) / step
    root = np.sqrt(np.maximum(left * left + 2 * slope * need, 0.0))
    below = left + root
    move = np.where(below > 0, 2 * need / np.where(below > 0, below, 1.0), 0.0)
    return np.asarray(x[piece] + np.clip(move, 0.0, step))
