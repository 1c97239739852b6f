"""Quantile vectors: what they must be, and the nearest one to a vector that is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from streams.distributions.errors import NonMonotoneError
from streams.distributions.moments import checked_rows

Floats = NDArray[np.float64]
Support = tuple[float, float]


def checked_quantiles(rows: Any, levels: Floats) -> Floats:
    """Return quantile vectors as a float array of shape (n, m).

    Raises:
        DistributionError: another shape, a value that is not finite, or a row that falls somewhere.
    """
    quantiles = checked_rows(rows, len(levels))
    falls = (np.diff(quantiles, axis=1) < 0).any(axis=1)
    if falls.any():
        raise NonMonotoneError(
            f"row {int(np.flatnonzero(falls)[0])} falls with the level, so it is no quantile function; "
            "sort the sample it comes from, or project it first"
        )
    return quantiles


def projected(rows: Floats, support: Support | None = None) -> Floats:
    """Return for each row, shape (n, m), the nearest nondecreasing one within the support, in least squares.

    The bounded projection is exactly clip(PAVA(row), lower, upper).
    """
    result = np.array(rows, np.float64)
    for i in np.flatnonzero((np.diff(result, axis=1) < 0).any(axis=1)).tolist():
        result[i] = isotonic_regression(result[i]).x
    return result if support is None else np.clip(result, *support)


def cdf_bounds(quantiles: Floats, levels: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Return the least and the greatest CDF at x, shape of x, that a quantile vector of shape (m,) leaves possible."""
    padded = np.concatenate([[0.0], levels, [1.0]])
    return padded[np.searchsorted(quantiles, x, "right")], padded[np.searchsorted(quantiles, x, "right") + 1]
