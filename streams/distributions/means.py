"""Fréchet mean and variance in W2: the mean of quantile functions and the spread about it."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.certified import Certified
from streams.distributions.errors import GridMismatchError
from streams.distributions.estimator import Estimator
from streams.distributions.grid import Floats, Grid
from streams.distributions.moments import Moments
from streams.distributions.weights import normalised


def frechet_mean(grid: Grid, values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the W2 barycenter of quantile vectors (n, m): their weighted mean."""
    q = grid.check(values)
    return np.asarray(normalised(weights, len(q)) @ q)


def frechet_variance(
    grid: Grid, values: ArrayLike, weights: ArrayLike | None = None, errors: ArrayLike | None = None
) -> Certified:
    """Return the weighted mean of squared W2 distances to the barycenter, in squared units; ``errors`` (n,) bound the vectors'."""
    q = grid.check(values)
    w = normalised(weights, len(q))
    centred = q - w @ q
    e = np.zeros(len(q)) if errors is None else np.asarray(errors, np.float64)
    return variance_within(float(w @ grid.inner(centred, centred)), float(np.sqrt(w @ (e * e))))


def variance_within(value: float, rms: float) -> Certified:
    """Return a Fréchet variance with its interval.

    Centring contracts, so errors of the vectors move the root of the variance by no more than their root mean square.
    """
    root = float(np.sqrt(max(value, 0.0)))
    slack = rms + 1e-12 * root
    return Certified(value, max(root - slack, 0.0) ** 2, (root + slack) ** 2)


class ErrorSums:
    """Count, sum and sum of squares of the vectors' errors; they add up, and are no part of what must have the same bits."""

    def __init__(self) -> None:
        self.sums = np.zeros(3)

    def add(self, n: int, errors: ArrayLike | None) -> None:
        """Count n vectors with bounds of their W2 errors, shape (n,); None says that they are exact."""
        e = np.zeros(n) if errors is None else np.asarray(errors, np.float64)
        if e.shape != (n,) or not (e >= 0).all():
            raise GridMismatchError(f"{n} vectors need {n} errors, none of them negative")
        self.sums = self.sums + np.array([n, e.sum(), e @ e])

    def merge(self, other: ErrorSums) -> None:
        """Add what another has counted."""
        self.sums = self.sums + other.sums

    @property
    def mean(self) -> float:
        """The mean error."""
        return float(self.sums[1] / max(self.sums[0], 1.0))

    @property
    def rms(self) -> float:
        """The root mean square error."""
        return float(np.sqrt(self.sums[2] / max(self.sums[0], 1.0)))


class FrechetMean(Estimator):
    """Learn the barycenter and the Fréchet variance of distributions: at once by ``fit``, or by ``partial_fit`` and ``merge``.

    With a ``resolution`` values are rounded to it and summed as integers, so that parts merged in any order give the same bits.
    """

    def __init__(self, grid: Grid, *, resolution: float | None = None) -> None:
        self.grid, self.resolution = grid, resolution

    def fit(self, Q: ArrayLike, y: None = None, *, errors: ArrayLike | None = None) -> Self:
        """Start anew with quantile vectors (n, m), and bounds of their W2 errors (n,) where known."""
        self.moments_ = Moments(len(self.grid), self.resolution)
        self.errors_ = ErrorSums()
        return self.partial_fit(Q, y, errors=errors)

    def partial_fit(self, Q: ArrayLike, y: None = None, *, errors: ArrayLike | None = None) -> Self:
        """Add quantile vectors."""
        if not hasattr(self, "moments_"):
            return self.fit(Q, y, errors=errors)
        rows = self.grid.check(Q)
        self.errors_.add(len(rows), errors)
        self.moments_.update(rows)
        return self

    def merge(self, other: FrechetMean) -> Self:
        """Add all that the other has seen."""
        self._require("moments_")
        other._require("moments_")
        self.moments_.merge(other.moments_)
        self.errors_.merge(other.errors_)
        return self

    @property
    def mean_(self) -> Floats:
        """The barycenter's quantile vector."""
        self._require("moments_")
        return self.moments_.mean

    @property
    def mean_error_(self) -> float:
        """A bound of the W2 distance between this barycenter and that of the data: the mean of the errors."""
        self._require("moments_")
        return self.errors_.mean

    @property
    def variance_(self) -> Certified:
        """The Fréchet variance."""
        self._require("moments_")
        value = float(self.moments_.covariance(ddof=0).diagonal() @ self.grid.weights)
        return variance_within(value, self.errors_.rms)

    def predict(self, X: ArrayLike) -> Floats:
        """Return the barycenter for each row of X, whatever it says: the regression without predictors."""
        return np.tile(self.mean_, (len(np.atleast_1d(np.asarray(X))), 1))

    def score(self, Q: ArrayLike, y: None = None) -> float:  # noqa: ARG002 - scikit-learn passes it
        """Return minus the mean squared W2 distance of quantile vectors to the barycenter."""
        off = self.grid.check(Q) - self.mean_
        return -float(np.mean(self.grid.inner(off, off)))
