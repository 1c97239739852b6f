"""Wasserstein distances on the line, exact between quantile functions in linear pieces, certified for the data behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from streams.distributions.certified import Certified
from streams.distributions.errors import DistributionError, GridMismatchError
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS, QuantileFunction, mean_power, root_of
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
    first, change, widths = differences(f, g)
    if order == 2.0:
        # The mean square along a line is that of its middle and a twelfth of the squared change.
        middle = change * 0.5
        middle += first
        middle *= middle
        total = float(middle @ widths) + float((change * change) @ widths) / 12
    else:
        total = float(mean_power(first, first + change, order) @ widths)
    value = root_of(total, order)
    own = f.error(order) + g.error(order)
    size = f.size + g.size
    # Each width may be off by two roundings of a level, against which the largest difference counts.
    slack = (len(widths) + 8) * 2 * EPS
    rounding = root_of(total + slack * size**order, order) - value
    if rounding > 1e-3 * own:
        largest = float(np.abs(np.concatenate([first, first + change])).max())
        rounding = root_of(total + slack * largest**order, order) - value
    return Certified.within(value, own + rounding + 8 * EPS * size)


def differences(f: QuantileFunction, g: QuantileFunction) -> tuple[Floats, Floats, Floats]:
    """Return the pieces on which both are linear: Q_f - Q_g at the beginning, its change along the piece, and the width."""
    # All breaks of f, the last of which is 1, and those of g but the last.
    both = np.concatenate((f.breaks, g.breaks[:-1]))
    order = both.argsort(kind="stable")
    levels = both.take(order)
    low = levels[:-1]
    widths = levels[1:] - low
    j = (order[:-1] > len(f.start)).astype(np.intp).cumsum()
    i = np.arange(len(j)) - j
    j -= 1
    # Both begin at level 0: the first entry is f's, and until g's is passed too the width is 0.
    j[0] = 0
    # Intercept and slope are fetched together, as one complex number. Breaks at 1 before the last have no width either.
    lines = f.lines.take(i, mode="clip")
    lines -= g.lines.take(j, mode="clip")
    change = lines.imag * widths
    return lines.real + lines.imag * low, change, widths


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
