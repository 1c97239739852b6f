"""Divergences between densities on points, bracketed by two quadratures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.certified import Certified
from streams.distributions.divergences import Divergence
from streams.distributions.errors import EmptyDistributionError, GridMismatchError, NotFiniteError
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS


def between_densities(kind: Divergence, x: ArrayLike, f: ArrayLike, g: ArrayLike) -> Certified:
    """Return a divergence of two densities given on ascending points, all of shape (k,), rescaled to mass 1.

    The value is by the trapezoidal rule, which for smooth densities that vanish at both ends is accurate far beyond its order.
    The interval is certain for densities that are linear between the points: along a piece both are linear, and integrands that
    are jointly convex (all f-divergences) or concave lie between the midpoint and the trapezoidal rule.
    """
    points = np.asarray(x, np.float64)
    a, b = density_on(points, f), density_on(points, g)
    steps = np.diff(points)
    ends = kind.integrand(a, b)
    trapezoid = float(((ends[1:] + ends[:-1]) / 2) @ steps)
    middle = float(kind.integrand((a[1:] + a[:-1]) / 2, (b[1:] + b[:-1]) / 2) @ steps)
    slack = 16 * EPS * len(points) * max(1.0, abs(trapezoid))
    value, low, high = (
        kind.of(t) for t in (trapezoid, min(trapezoid, middle) - slack, max(trapezoid, middle) + slack)
    )
    return Certified(value, min(low, value), max(high, value))


def density_on(points: Floats, density: ArrayLike) -> Floats:
    """Return a density checked and rescaled to mass 1 by the trapezoidal rule."""
    f = np.asarray(density, np.float64)
    if points.ndim != 1 or f.shape != points.shape or len(points) < 2 or not (np.diff(points) > 0).all():
        raise GridMismatchError("a density needs a value at each of at least two ascending points")
    if not (np.isfinite(f).all() and (f >= 0).all()):
        raise NotFiniteError("a density must be finite and not negative")
    mass = float(np.trapezoid(f, points))
    if not mass > 0:
        raise EmptyDistributionError("the density is 0 everywhere")
    return np.asarray(f / mass)
