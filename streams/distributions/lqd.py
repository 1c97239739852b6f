"""The log-quantile-density transform of a density and its inverse (Petersen and Müller, Annals of Statistics 2016).

psi(f)(t) = -log f(Q(t)) maps densities on a common bounded support to functions without constraints: whatever is
added up or decomposed there comes back as a density. Numerics follow the R package fdadensity: cubic splines, and
integrals of splines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from streams.distributions.errors import DistributionError, EmptyDistributionError, NotFiniteError
from streams.distributions.quadrature import running_integral

Floats = NDArray[np.float64]


def normalised(density: Floats, x: Floats) -> Floats:
    """Return the density, values on the grid x, scaled to a trapezoidal integral of one.

    Raises:
        DistributionError: a value is negative or not finite, or all are zero.
    """
    if density.shape != x.shape or not np.isfinite(density).all() or (density < 0).any():
        raise NotFiniteError("a density needs one finite value of at least zero for each grid point")
    mass = float(np.trapezoid(density, x))
    if mass <= 0:
        raise EmptyDistributionError("a density that is zero everywhere cannot be scaled")
    return np.asarray(density / mass)


def regularised(density: Floats, x: Floats, alpha: float) -> Floats:
    """Mix a density with the uniform one until its least value is alpha; it is returned as is where it has that already.

    Raises:
        DistributionError: alpha times the width of the support is one or more, so that no density can be that large everywhere.
    """
    lowest, width = float(density.min()), float(x[-1] - x[0])
    if lowest >= alpha or np.ptp(density) == 0:
        return density
    if alpha * width >= 1:
        raise DistributionError(
            f"alpha={alpha} is too large for a support of width {width}; take less than {1 / width}"
        )
    gamma = (alpha - lowest) / (1 - alpha * width)
    return np.asarray((density + gamma) / (1 + gamma * width))


def log_quantile_density(density: Floats, x: Floats, t: Floats) -> Floats:
    """Return psi(t) = -log f(Q(t)), shape of t, of a density given on the grid x.

    Raises:
        DistributionError: the density has zeros; regularise it first.
    """
    _require_positive(density)
    mass = np.concatenate([[0.0], np.cumsum(np.diff(x) * (density[1:] + density[:-1]) / 2)])
    return np.asarray(CubicSpline(mass / mass[-1], -np.log(density))(t))


def quantile_of_lqd(psi: Floats, t: Floats, lower: float = 0.0) -> Floats:
    """Return Q(t) = lower + integral of exp(psi), shape (m,)."""
    return np.asarray(lower + running_integral(t, psi, exponential=True))


def density_of_lqd(psi: Floats, t: Floats, x: Floats) -> Floats:
    """Return the density on the grid x, whose ends are its support; it integrates to one by the trapezoid rule."""
    return _density_at(quantile_of_lqd(psi, t), np.exp(-psi), x)


def quantile_of_density(density: Floats, x: Floats, t: Floats) -> Floats:
    """Return the quantiles at levels t, shape of t, of a density given on the grid x."""
    return np.asarray(np.interp(t, *_distinct(running_integral(x, density), x)))


def quantile_density(density: Floats, x: Floats, t: Floats) -> Floats:
    """Return dQ/dt at levels t, scaled such that its trapezoidal integral is the width of the support.

    Raises:
        DistributionError: the density has zeros; regularise it first.
    """
    _require_positive(density)
    slope = np.interp(t, *_distinct(running_integral(x, density), 1 / density))
    return np.asarray(slope * (x[-1] - x[0]) / np.trapezoid(slope, t))


def wasserstein_mean_density(densities: Floats, x: Floats, t: Floats) -> Floats:
    """Return the density on x of the W2 Fréchet mean of densities on x, shape (n, len(x)), by averaging quantile densities."""
    slope = np.mean([quantile_density(density, x, t) for density in densities], axis=0)
    return _density_at(running_integral(t, slope), 1 / slope, x)


def _density_at(quantiles: Floats, density: Floats, x: Floats) -> Floats:
    place = x[0] + (quantiles - quantiles[0]) * (x[-1] - x[0]) / (quantiles[-1] - quantiles[0])
    on_grid = np.interp(x, place, density)
    return np.asarray(on_grid / np.trapezoid(on_grid, x))


def _distinct(levels: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Where the density is zero a level stands for a stretch; its start counts."""
    first = np.concatenate([[True], np.diff(levels) > 0])
    return levels[first], values[first]


def _require_positive(density: Floats) -> None:
    if not (density > 0).all():
        raise DistributionError(
            "the log of a density that is zero somewhere is infinite; regularise it with alpha > 0 first"
        )
