"""Fréchet means and regression of densities in the Fisher-Rao metric, and of points on a sphere."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.grid import Floats
from streams.distributions.kernels import KernelName, local_linear_weights
from streams.distributions.predictors import inverse_covariance, predictors
from streams.distributions.sphere import (
    angles,
    from_square_roots,
    normalised_rows,
    square_roots,
    weighted_mean,
)
from streams.distributions.weights import normalised


def fisher_rao_mean(x: ArrayLike, densities: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the Fréchet mean in Fisher-Rao distance (the Karcher mean on the sphere) of densities (n, m) on points x (m,)."""
    roots = square_roots(x, densities)
    return from_square_roots(x, weighted_mean(roots, normalised(weights, len(roots))))


def fisher_rao_variance(x: ArrayLike, densities: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the weighted mean of squared Fisher-Rao distances (arccos convention) to the Fréchet mean."""
    roots = square_roots(x, densities)
    w = normalised(weights, len(roots))
    return float(w @ angles(roots, weighted_mean(roots, w)) ** 2)


class SphereRegression(Estimator):
    """Fréchet regression of points on the unit sphere on predictors: global, or local linear with a bandwidth.

    Predictions minimise the sum of s_i(x) d(y, y_i)^2 with the great-circle distance (Petersen and Müller 2019). The minimisation
    is run to its end: on data with noise the result differs from the normalised weighted sum, where it starts.
    """

    def __init__(self, *, bandwidth: ArrayLike | None = None, kernel: KernelName = "gauss") -> None:
        self.bandwidth, self.kernel = bandwidth, kernel

    def fit(self, X: ArrayLike, Y: ArrayLike) -> Self:
        """Learn from predictors (n, p) and vectors (n, m), which are scaled to length 1."""
        self.Y_ = self._points(Y)
        self.X_ = predictors(X, rows=len(self.Y_))
        self.n_features_in_ = self.X_.shape[1]
        if len(self.Y_) < 2:
            raise TooFewDistributionsError("a regression needs at least two distributions")
        if self.bandwidth is None:
            centred = self.X_ - self.X_.mean(axis=0)
            self._inverse = inverse_covariance(centred.T @ centred / len(self.X_), self.X_.mean(axis=0))
        return self

    def weights(self, X: ArrayLike) -> Floats:
        """Return the weights (k, n) of the learned points; each row sums to 1."""
        self._require("Y_")
        at = predictors(X, columns=self.n_features_in_)
        if self.bandwidth is not None:
            width = np.broadcast_to(np.asarray(self.bandwidth, np.float64), (self.n_features_in_,))
            return local_linear_weights(self.X_, at, width, self.kernel)
        mean = self.X_.mean(axis=0)
        return np.asarray(1 + (at - mean) @ self._inverse @ (self.X_ - mean).T) / len(self.X_)

    def predict(self, X: ArrayLike) -> Floats:
        """Return the predicted points, shape (k, m), in the form in which they were learned."""
        return self._given(np.stack([weighted_mean(self.Y_, w) for w in self.weights(X)]))

    def score(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Return the Fréchet R2: 1 - sum of squared distances to predictions over that to the Fréchet mean of Y."""
        points, predicted = self._points(Y), self._points(self.predict(X))
        centre = weighted_mean(points, np.full(len(points), 1 / len(points)))
        return 1 - float((angles(points, predicted) ** 2).sum() / (angles(points, centre) ** 2).sum())

    def _points(self, Y: ArrayLike) -> Floats:
        return normalised_rows(Y)

    def _given(self, points: Floats) -> Floats:
        return points


class FisherRaoRegression(SphereRegression):
    """Fréchet regression of densities on predictors in the Fisher-Rao metric, which is that of the sphere of their square roots.

    Densities (n, m) are given on the points ``x`` (m,). With negative weights the minimiser on the sphere may leave the orthant of
    square roots; its square is a density all the same.
    """

    def __init__(
        self, x: ArrayLike, *, bandwidth: ArrayLike | None = None, kernel: KernelName = "gauss"
    ) -> None:
        super().__init__(bandwidth=bandwidth, kernel=kernel)
        self.x = x

    def _points(self, Y: ArrayLike) -> Floats:
        return square_roots(self.x, Y)

    def _given(self, points: Floats) -> Floats:
        return from_square_roots(self.x, points)
