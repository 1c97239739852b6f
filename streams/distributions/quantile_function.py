"""Quantile functions in linear pieces, with what is certain about the data behind each piece."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.distributions import power_kernel
from streams.distributions.errors import DistributionError, GridMismatchError, NotFiniteError
from streams.distributions.grid import Floats, Grid

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class QuantileFunction:
    """An estimate of an inverse CDF that is linear between breaks, and bounds for the exact one.

    Between ``breaks[j]`` and ``breaks[j + 1]`` (levels, shape (k + 1,), from 0 to 1) the estimate runs from ``start[j]`` to
    ``end[j]``, and the inverse CDF of the data stays in ``[low[j], high[j]]`` (all of shape (k,)). A sample is exact: all four are
    equal. The inverse CDF is inf {x : F(x) >= p}, which is not numpy's default quantile.
    """

    breaks: Floats
    start: Floats
    end: Floats
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        if not len(self.start) or len(self.breaks) != len(self.start) + 1:
            raise GridMismatchError(
                "a quantile function needs at least one piece and one break more than pieces"
            )
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all()):
            raise NotFiniteError("the quantiles are not bounded; give the minimum and maximum of the data")

    @cached_property
    def _errors(self) -> dict[float, float]:
        return {}

    @cached_property
    def widths(self) -> Floats:
        """The mass of each piece."""
        return np.diff(self.breaks)

    @cached_property
    def slopes(self) -> Floats:
        """The estimate's rise by level on each piece, 0 on pieces without width."""
        return np.asarray(
            np.where(
                self.widths > 0, (self.end - self.start) / np.where(self.widths > 0, self.widths, 1.0), 0.0
            )
        )

    @cached_property
    def size(self) -> float:
        """The largest absolute value that the data may have."""
        return float(max(abs(self.low[0]), abs(self.high[-1])))

    def at(self, levels: ArrayLike) -> Floats:
        """Return the estimate at levels in [0, 1], with the shape of the levels."""
        p, j = self._pieces(levels)
        share = (p - self.breaks[j]) / np.where(self.widths[j] > 0, self.widths[j], 1.0)
        return np.asarray(self.start[j] + (self.end[j] - self.start[j]) * np.clip(share, 0.0, 1.0))

    def bounds(self, levels: ArrayLike) -> tuple[Floats, Floats]:
        """Return between what the exact quantiles at these levels lie."""
        p, left = self._pieces(levels)
        # Breaks carry rounding, so a level on a break is given both its neighbours.
        right = np.clip(np.searchsorted(self.breaks, p * (1 + 4 * EPS), side="right") - 1, left, None)
        left = np.minimum(np.clip(np.searchsorted(self.breaks, p * (1 - 4 * EPS)) - 1, 0, None), left)
        return self.low[left], self.high[np.minimum(right, len(self.high) - 1)]

    def error(self, order: float = 2.0) -> float:
        """Return a bound of the W_p distance (``p = order`` >= 1) between the estimate and the data.

        On a piece the exact function is monotone between two bounds. The error is convex in it, so a step between the bounds is
        the worst, and as the estimate rises too, the worst step is at an end of the piece: all of the data at one bound.
        """
        if order not in self._errors:
            self._errors[order] = self._error(self.breaks, self.start, self.end, order)
        return self._errors[order]

    def on(self, grid: Grid) -> Floats:
        """Return the quantile vector on a grid, shape (m,)."""
        return self.at(grid.levels)

    def averages(self, grid: Grid) -> Floats:
        """Return the mean of the estimate over each cell of a grid, shape (m,): the nearest vector in W2 that the grid has.

        Unlike values at the levels, they miss nothing of the tails beyond the first and the last level.
        """
        areas = np.concatenate([[0.0], np.cumsum((self.start + self.end) / 2 * self.widths)])
        cells = grid.cells
        j = np.clip(np.searchsorted(self.breaks, cells, side="right") - 1, 0, len(self.start) - 1)
        inside = cells - self.breaks[j]
        upto = areas[j] + inside * (self.start[j] + self.slopes[j] * inside / 2)
        means = np.diff(upto) / np.diff(cells)
        # Rounding in differences of sums may not make them fall, nor leave the data's range.
        return np.asarray(np.maximum.accumulate(means).clip(self.start[0], self.end[-1]))

    def grid_error(self, grid: Grid, order: float = 2.0, vector: Floats | None = None) -> float:
        """Return a bound of the W_p distance between ``on(grid)``, or another vector, and the data, over the grid's levels."""
        cells = grid.cells
        breaks = np.union1d(self.breaks, cells)
        breaks = breaks[(breaks >= cells[0]) & (breaks <= cells[-1])]
        middle = (breaks[1:] + breaks[:-1]) / 2
        value = (self.on(grid) if vector is None else vector)[
            np.clip(np.searchsorted(cells, middle) - 1, 0, len(grid) - 1)
        ]
        return self._error(breaks, value, value, order)

    def _pieces(self, levels: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
        p = np.asarray(levels, np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise DistributionError("levels must be in [0, 1]")
        return p, np.clip(np.searchsorted(self.breaks, p, side="left") - 1, 0, len(self.start) - 1)

    def _error(self, breaks: Floats, start: Floats, end: Floats, order: float) -> float:
        if order < 1:
            raise DistributionError("the order of a Wasserstein distance must be at least 1")
        if breaks is self.breaks:
            low, high = self.low, self.high
        else:
            j = np.clip(
                np.searchsorted(self.breaks, (breaks[1:] + breaks[:-1]) / 2) - 1, 0, len(self.low) - 1
            )
            low, high = self.low[j], self.high[j]
        total = power_kernel.error(breaks, start, end, low, high, float(order))
        # A sum of so many terms may be off by so many roundings.
        return root_of(total, order) * (1 + 1e-12 + len(start) * EPS) + 8 * EPS * self.size


def root_of(total: float, order: float) -> float:
    """Return total^(1/order), of a total that rounding may have made a little negative."""
    return float(max(total, 0.0) ** (1.0 / order))
