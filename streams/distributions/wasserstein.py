"""Wasserstein distances on the line, exact between quantile functions in linear pieces, certified for the data behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from streams.distributions import power_kernel
from streams.distributions.certified import Certified
from streams.distributions.errors import DistributionError, GridMismatchError
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS, QuantileFunction, root_of
from streams.distributions.sources import Quantiles


def wasserstein(f: QuantileFunction, g: QuantileFunction, order: float = 2.0) -> Certified:
    """Return W_p, ``p = order`` >= 1, in the data's unit: (integral of |Q_f - Q_g|^p over the levels)^(1/p).

    The value is exact for the two estimates. By the triangle inequality the data's own distance is within the sum of both errors,
    and the bound adds what rounding may do to the value.

    Raises:
        DistributionError: the order is below 1.
    """
    if order < 1:
        raise DistributionError("the order of a Wasserstein distance must be at least 1")
    total, largest = power_kernel.distance(
        f.breaks, f.start, f.end, g.breaks, g.start, g.end, 4 * EPS, float(order)
    )
    value = root_of(total, order)
    own = f.error(order) + g.error(order)
    size = f.size + g.size
    # Each width may be off by two roundings of a level, against which the largest difference counts.
    slack = (len(f.start) + len(g.start) + 8) * 2 * EPS
    rounding = root_of(total + slack * largest**order, order) - value
    return Certified.within(value, own + rounding + 8 * EPS * size)


def distance_matrix(quantiles: Quantiles, others: Quantiles | None = None) -> tuple[Floats, Floats]:
    """Return the W2 distances of all pairs of rows and their bounds, both of shape (n, k); the grid's error is in the bound."""
    rows = quantiles
    columns = quantiles if others is None else others
    if rows.grid != columns.grid:
        raise GridMismatchError("distances need both sets on the same grid")
    root = np.sqrt(rows.grid.weights)
    a, b = rows.values * root, columns.values * root
    values = np.asarray(cdist(a, b), np.float64)
    rounding = 4 * EPS * (len(root) + 2) * (_sizes(a)[:, None] + _sizes(b)[None, :])
    return values, rows.errors[:, None] + columns.errors[None, :] + rounding


def _sizes(rows: Floats) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((rows * rows).sum(axis=1)))
