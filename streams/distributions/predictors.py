"""Predictors of a regression: checked tables, and the inverse of their covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import (
    GridMismatchError,
    NotFiniteError,
    SingularCovarianceError,
    ZeroVariancePredictorError,
)
from streams.distributions.grid import Floats


def predictors(x: ArrayLike, rows: int | None = None, columns: int | None = None) -> Floats:
    """Return predictors of shape (n, p), a vector as one column, checked to be finite and as many as asked."""
    table = np.asarray(x, np.float64)
    if table.ndim < 2:
        table = table.reshape(-1, 1) if columns in {None, 1} else table.reshape(1, -1)
    if table.ndim != 2 or not table.shape[1] or columns not in {None, table.shape[1]}:
        raise GridMismatchError(
            f"expected predictors in {columns or 'p'} columns, got an array of shape {table.shape}"
        )
    if rows is not None and len(table) != rows:
        raise GridMismatchError(f"{rows} distributions need {rows} rows of predictors, not {len(table)}")
    if not np.isfinite(table).all():
        raise NotFiniteError("predictors must be finite; leave incomplete rows out")
    return table


def inverse_covariance(covariance: Floats, mean: Floats) -> Floats:
    """Invert the covariance of predictors with the given mean, both from at least two rows.

    Raises:
        ZeroVariancePredictorError: a predictor does not vary, but for rounding.
        SingularCovarianceError: predictors are collinear.
    """
    spread = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    still = np.flatnonzero(~(spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)))
    if len(still):
        raise ZeroVariancePredictorError(
            f"predictor {int(still[0])} does not vary, so it has no slope; leave it out"
        )
    values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    if values[0] <= 1e-12 * len(values):
        raise SingularCovarianceError("predictors are collinear; leave one of them out, or give more rows")
    return np.asarray((vectors / values) @ vectors.T / np.outer(spread, spread))
