"""Integrals over a grid as weights, and steps that depend on the grid alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from streams.distributions.errors import DistributionError, GridMismatchError

Floats = NDArray[np.float64]
Rule = Literal["trapezoid", "spline"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def weights_of(grid: Floats, rule: Rule = "trapezoid") -> Floats:
    """Return weights w, shape (m,), such that ``values @ w`` integrates values given on an ascending grid of shape (m,).

    ``spline`` integrates the natural cubic spline through the values.

    Raises:
        GridMismatchError: the grid is not strictly ascending, has fewer than two points.
        DistributionError: the rule is unknown.
    """
    if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise GridMismatchError("a grid needs at least two points, strictly ascending")
    if rule == "trapezoid":
        step = np.diff(grid)
        return np.asarray((np.append(step, 0) + np.append(0, step)) / 2)
    if rule == "spline":
        splines = CubicSpline(grid, np.eye(len(grid)), bc_type="natural")
        return np.asarray(splines.integrate(grid[0], grid[-1]))
    raise DistributionError(f"no quadrature rule {rule!r}; there are trapezoid and spline")


def running_integral(grid: Floats, values: Floats, *, exponential: bool = False) -> Floats:
    """Return the integral from the grid's start to each of its points, shape (m,), of the natural spline through values.

    With ``exponential`` it is the exponential of that spline which is integrated, by 8-point Gauss-Legendre a cell.
    """
    spline = CubicSpline(grid, values, bc_type="natural")
    half = np.diff(grid)[:, None] / 2
    inside = spline(grid[:-1, None] + half * (1 + _NODES))
    cells = ((np.exp(inside) if exponential else inside) * _WEIGHTS * half).sum(axis=1)
    return np.concatenate([[0.0], np.cumsum(cells)])
