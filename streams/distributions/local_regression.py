"""Local linear Fréchet regression of distributions on predictors (Petersen and Müller 2019)."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import DistributionError, SingularCovarianceError, TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.grid import Floats, Grid
from streams.distributions.kernels import KERNELS, KernelName, local_linear_weights
from streams.distributions.monotone import Support, projected
from streams.distributions.predictors import predictors


class LocalFrechetRegression(Estimator):
    """Predict a distribution from predictors without assuming a line: weighted Fréchet means with local linear weights.

    ``bandwidth`` is one number, one for each predictor, or None to choose it by leave-one-out cross-validation among ten between
    the closest and the widest that the rows allow. ``kernel`` is gauss, epan, rect, quar or gausvar.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        bandwidth: ArrayLike | None = None,
        kernel: KernelName = "gauss",
        support: Support | None = None,
    ) -> None:
        self.grid, self.bandwidth, self.kernel, self.support = grid, bandwidth, kernel, support

    def fit(self, X: ArrayLike, Q: ArrayLike, *, errors: ArrayLike | None = None) -> Self:
        """Keep predictors (n, p) and quantile vectors (n, m), with bounds of their W2 errors (n,) where known."""
        if self.kernel not in KERNELS:
            raise DistributionError(f"kernel must be one of {', '.join(KERNELS)}")
        self.Q_ = self.grid.check(Q)
        self.X_ = predictors(X, rows=len(self.Q_))
        if len(self.Q_) < 2:
            raise TooFewDistributionsError("a regression needs at least two distributions")
        self.n_features_in_ = self.X_.shape[1]
        self.errors_ = np.zeros(len(self.Q_)) if errors is None else np.asarray(errors, np.float64)
        given = self._chosen() if self.bandwidth is None else np.asarray(self.bandwidth, np.float64)
        self.bandwidth_ = np.broadcast_to(given, (self.n_features_in_,))
        if not (np.isfinite(self.bandwidth_).all() and (self.bandwidth_ > 0).all()):
            raise DistributionError("a bandwidth must be positive and finite")
        return self

    def weights(self, X: ArrayLike) -> Floats:
        """Return the weights (k, n) of the learned rows at points (k, p); each row sums to 1."""
        self._require("Q_")
        at = predictors(X, columns=self.n_features_in_)
        return local_linear_weights(self.X_, at, self.bandwidth_, self.kernel)

    def predict(self, X: ArrayLike) -> Floats:
        """Return the predicted quantile vectors, shape (k, m), projected into the support."""
        return projected(self.weights(X) @ self.Q_, self.support)

    def error(self, X: ArrayLike) -> Floats:
        """Return bounds of the W2 distance between each prediction and that from the data: the sum of |w_i| e_i."""
        return np.asarray(np.abs(self.weights(X)) @ self.errors_)

    def score(self, X: ArrayLike, Q: ArrayLike) -> float:
        """Return the Fréchet R2: 1 - sum of W2^2 to the predictions over that to the barycenter of Q."""
        q = self.grid.check(Q)
        off, centred = q - self.predict(X), q - q.mean(axis=0)
        return 1 - float(self.grid.inner(off, off).sum() / self.grid.inner(centred, centred).sum())

    def _chosen(self) -> Floats:
        """Return the candidate with the least sum of squared leave-one-out distances."""
        spread = np.ptp(self.X_, axis=0)
        best, least = spread, np.inf
        for share in np.geomspace(0.02, 0.5, 10):
            loss = self._left_out(np.maximum(spread * share, 1e-300))
            if loss < least:
                best, least = spread * share, loss
        return np.asarray(best)

    def _left_out(self, bandwidth: Floats) -> float:
        total = 0.0
        for i in range(len(self.Q_)):
            rest = np.arange(len(self.Q_)) != i
            try:
                w = local_linear_weights(self.X_[rest], self.X_[i : i + 1], bandwidth, self.kernel)
            except SingularCovarianceError:
                return np.inf
            off = projected(w @ self.Q_[rest], self.support)[0] - self.Q_[i]
            total += float(self.grid.inner(off, off))
        return total


class LocalGridRegression(Estimator):
    """The streaming form: local linear Fréchet regression at points fixed beforehand, from sums that add up.

    At each point ``at`` (k, p) it keeps the kernel-weighted sums of 1, d, dd', Q and dQ with d = (x - point) / bandwidth.
    """

    def __init__(
        self,
        grid: Grid,
        at: ArrayLike,
        bandwidth: ArrayLike,
        *,
        kernel: KernelName = "gauss",
        support: Support | None = None,
    ) -> None:
        self.grid, self.at, self.bandwidth = grid, at, bandwidth
        self.kernel, self.support = kernel, support

    def fit(self, X: ArrayLike, Q: ArrayLike) -> Self:
        """Start anew with predictors (n, p) and quantile vectors (n, m)."""
        self.left_, self.right_ = self._sums(X, Q)
        return self

    def partial_fit(self, X: ArrayLike, Q: ArrayLike) -> Self:
        """Add predictors (n, p) and quantile vectors (n, m)."""
        if not hasattr(self, "left_"):
            return self.fit(X, Q)
        left, right = self._sums(X, Q)
        self.left_, self.right_ = self.left_ + left, self.right_ + right
        return self

    def _sums(self, X: ArrayLike, Q: ArrayLike) -> tuple[Floats, Floats]:
        points = predictors(self.at)
        q = self.grid.check(Q)
        x = predictors(X, rows=len(q), columns=points.shape[1])
        off = (x[None, :, :] - points[:, None, :]) / np.asarray(self.bandwidth, np.float64)
        k = np.prod(KERNELS[self.kernel](off), axis=2)
        design = np.concatenate([np.ones((*k.shape, 1)), off], axis=2)
        left = np.einsum("kn,kni,knj->kij", k, design, design)
        return left, np.einsum("kn,kni,nm->kim", k, design, q)

    def merge(self, other: LocalGridRegression) -> Self:
        """Add all that the other has seen."""
        self._require("left_")
        other._require("left_")
        if not np.array_equal(predictors(self.at), predictors(other.at)):
            raise DistributionError("only regressions at the same points can be merged")
        self.left_, self.right_ = self.left_ + other.left_, self.right_ + other.right_
        return self

    def predict(self, X: ArrayLike | None = None) -> Floats:
        """Return the predicted quantile vectors at all points, or at those of the points that X names.

        Raises:
            DistributionError: X names other points.
            SingularCovarianceError: too few rows were near a point.
        """
        self._require("left_")
        points = predictors(self.at)
        if X is None:
            rows = np.arange(len(points))
        else:
            same = (predictors(X, columns=points.shape[1])[:, None, :] == points[None, :, :]).all(axis=2)
            if not same.any(axis=1).all():
                raise DistributionError("the streaming form predicts at its fixed points only")
            rows = same.argmax(axis=1)
        if (np.linalg.cond(self.left_[rows]) > 1e12).any():
            raise SingularCovarianceError(
                "too few predictors near a point for a local line; choose a larger bandwidth"
            )
        lines = np.linalg.solve(self.left_[rows], self.right_[rows])[:, 0, :]
        return projected(np.asarray(lines, np.float64), self.support)

    def score(self, X: ArrayLike, Q: ArrayLike) -> float:
        """Return the Fréchet R2 of quantile vectors at the fixed points."""
        q = self.grid.check(Q)
        off, centred = q - self.predict(X), q - q.mean(axis=0)
        return 1 - float(self.grid.inner(off, off).sum() / self.grid.inner(centred, centred).sum())
