"""The grid of levels on which quantile vectors live, with the weights of its integrals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.distributions.errors import GridMismatchError, NonMonotoneError, NotFiniteError

Floats = NDArray[np.float64]

# Rounding in data that were printed or averaged may make neighbours fall by this share of the vector's range.
_FALL = 1e-9


@dataclass(frozen=True, eq=False)
class Grid:
    """Ascending levels in [0, 1] with one integration weight each, both of shape (m,).

    A quantile vector on the grid stands for the step function that holds its value on the cell around each level; the weights
    are the widths of these cells. Integrals over the grid are therefore exact for such functions, and the distance of two
    vectors is the exact W2 of two step functions. A grid that stops short of 0 and 1 gives distances trimmed to the levels
    that it covers.
    """

    levels: Floats
    weights: Floats

    def __post_init__(self) -> None:
        levels = np.asarray(self.levels, np.float64)
        weights = np.asarray(self.weights, np.float64)
        if levels.ndim != 1 or not len(levels) or levels.shape != weights.shape:
            raise GridMismatchError(
                "a grid needs as many weights as levels, in one dimension, and at least one"
            )
        if not ((np.diff(levels) > 0).all() and levels[0] >= 0 and levels[-1] <= 1):
            raise GridMismatchError("levels must ascend strictly within [0, 1]")
        if not (weights > 0).all():
            raise GridMismatchError("weights must be positive")
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def midpoints(cls, m: int) -> Grid:
        """Return the levels (j - 1/2) / m, j = 1..m, each with weight 1 / m: the choice for data of the stream."""
        if m < 1:
            raise GridMismatchError("a grid needs at least one level")
        return cls((np.arange(m) + 0.5) / m, np.full(m, 1.0 / m))

    @classmethod
    def trapezoid(cls, levels: ArrayLike) -> Grid:
        """Return given levels (at least two) with the weights of the trapezoidal rule between the first and the last."""
        p = np.asarray(levels, np.float64)
        if p.ndim != 1 or len(p) < 2:
            raise GridMismatchError("the trapezoidal rule needs at least two levels, in one dimension")
        steps = np.diff(p)
        return cls(p, np.concatenate([steps, [0.0]]) / 2 + np.concatenate([[0.0], steps]) / 2)

    @classmethod
    def closed(cls, m: int) -> Grid:
        """Return m equidistant levels from 0 to 1 with trapezoidal weights."""
        return cls.trapezoid(np.linspace(0.0, 1.0, m))

    def __len__(self) -> int:
        return len(self.levels)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and np.array_equal(self.levels, other.levels)
            and np.array_equal(self.weights, other.weights)
        )

    def __hash__(self) -> int:
        return hash((self.levels.tobytes(), self.weights.tobytes()))

    @cached_property
    def cells(self) -> Floats:
        """The boundaries of the cells around the levels, shape (m + 1,)."""
        total = np.cumsum(self.weights)
        if abs(total[-1] - 1) < 1e-9:
            return np.concatenate([[0.0], total[:-1], [1.0]])
        return np.asarray(np.minimum(self.levels[0] + np.concatenate([[0.0], total]), 1.0))

    def integral(self, values: Floats) -> Any:
        """Integrate over the levels: shape (..., m) to (...)."""
        return values @ self.weights

    def inner(self, f: Floats, g: Floats) -> Any:
        """Return the inner product over the levels, broadcasting all axes but the last."""
        return (f * g) @ self.weights

    def norm(self, f: Floats) -> Any:
        """Return the L2 norm over the levels; of a difference of quantile vectors it is their W2."""
        return np.sqrt(self.inner(f, f))

    def check(self, values: ArrayLike, *, monotone: bool = True) -> Floats:
        """Return values as quantile vectors of shape (n, m); a single vector becomes one row.

        Raises:
            GridMismatchError: the last axis is not as long as the grid.
            NotFiniteError: a value is NaN or infinite.
            NonMonotoneError: a vector falls by more than rounding.
        """
        q = np.atleast_2d(np.asarray(values, np.float64))
        if q.ndim != 2 or q.shape[1] != len(self):
            raise GridMismatchError(
                f"quantile vectors on this grid have {len(self)} values, these have shape {q.shape}"
            )
        if not np.isfinite(q).all():
            raise NotFiniteError("quantile vectors must be finite; leave such rows out")
        if monotone and q.shape[1] > 1:
            fall = np.diff(q, axis=1).min(axis=1)
            bad = np.flatnonzero(fall < -_FALL * np.maximum(q[:, -1] - q[:, 0], np.abs(q).max(axis=1)))
            if len(bad):
                raise NonMonotoneError(
                    f"quantile vector {int(bad[0])} falls by {-fall[bad[0]]:.3g}; sort it, or project it (monotone.projected)"
                )
        return q
