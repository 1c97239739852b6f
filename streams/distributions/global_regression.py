"""Global Fréchet regression of distributions on predictors, batch or streaming (Petersen and Müller 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.certified import Certified
from streams.distributions.errors import GridMismatchError, TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.ftest import FTest, wasserstein_f_test
from streams.distributions.grid import Floats, Grid
from streams.distributions.means import ErrorSums
from streams.distributions.moments import Moments
from streams.distributions.monotone import Support, projected
from streams.distributions.predictors import inverse_covariance, predictors
from streams.distributions.weights import normalised


@dataclass(frozen=True, eq=False)
class Fit:
    """What both the batch and the streaming form come down to: means, covariances and the slopes, shape (p, m)."""

    n: float
    x_mean: Floats
    q_mean: Floats
    x_inverse: Floats
    slopes: Floats
    total: Floats
    residual: Floats

    @classmethod
    def of(cls, n: float, p: int, mean: Floats, covariance: Floats) -> Fit:
        """Regress from the population mean and covariance of rows (x, q)."""
        inverse = inverse_covariance(covariance[:p, :p], mean[:p])
        slopes = inverse @ covariance[:p, p:]
        total = covariance[p:, p:]
        return cls(n, mean[:p], mean[p:], inverse, slopes, total, total - covariance[p:, :p] @ slopes)

    def lines(self, x: Floats) -> Floats:
        """Return the fitted vectors before projection."""
        return np.asarray(self.q_mean + (x - self.x_mean) @ self.slopes)

    def gain(self, x: Floats) -> float:
        """Return how much larger the root mean square error of the lines at rows x can be than that of the learned vectors.

        On the rows learned from the fit is an orthogonal projection, and this is 1.
        """
        off = np.concatenate([np.ones((len(x), 1)), x - self.x_mean], axis=1)
        second = off.T @ off / len(off)
        second[:, 1:] = second[:, 1:] @ self.x_inverse
        return float(np.sqrt(np.abs(np.linalg.eigvals(second)).max()))

    def mahalanobis(self, x: Floats) -> Floats:
        """Return the squared Mahalanobis distance of each row of predictors from their mean."""
        off = x - self.x_mean
        return np.asarray(np.einsum("ij,jk,ik->i", off, self.x_inverse, off))


@dataclass(frozen=True, slots=True)
class R2:
    """Shares of the Fréchet variance explained: by the projected fit (if the rows are at hand), and before projection."""

    unprojected: Certified
    projected: Certified | None


class GlobalFrechetRegression(Estimator):
    """Predict a distribution from predictors: the weighted Fréchet mean whose weights are those of linear regression.

    The weights s_i(x) = 1 + (x_i - mean)' S^-1 (x - mean) may be negative, so the weighted mean of quantile vectors is projected
    onto the nearest quantile vector within ``support``: clip(PAVA, lower, upper). ``partial_fit`` and ``merge`` keep only sums over
    (x, Q); with ``resolutions`` (of each predictor, and of Q) these are integers, and merging in any order gives the same bits.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        support: Support | None = None,
        resolutions: tuple[ArrayLike, float] | None = None,
    ) -> None:
        self.grid, self.support, self.resolutions = grid, support, resolutions

    def fit(
        self,
        X: ArrayLike,
        Q: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        errors: ArrayLike | None = None,
    ) -> Self:
        """Start anew with predictors (n, p) and quantile vectors (n, m); weights are for batches, not for streams."""
        self.__dict__ = {name: getattr(self, name) for name in self._parameters()}
        if sample_weight is None:
            return self.partial_fit(X, Q, errors=errors)
        q = self.grid.check(Q)
        x = predictors(X, rows=len(q))
        w = normalised(sample_weight, len(q))
        rows = np.concatenate([x, q], axis=1)
        mean = w @ rows
        self.n_features_in_ = x.shape[1]
        self.errors_ = ErrorSums()
        self.errors_.add(len(q), errors)
        self._fit: Fit | None = Fit.of(float(len(q)), x.shape[1], mean, ((rows - mean).T * w) @ (rows - mean))
        return self

    def partial_fit(self, X: ArrayLike, Q: ArrayLike, *, errors: ArrayLike | None = None) -> Self:
        """Add predictors (n, p) and quantile vectors (n, m), and bounds of their W2 errors (n,) where known."""
        q = self.grid.check(Q)
        x = predictors(X, rows=len(q), columns=getattr(self, "n_features_in_", None))
        if not hasattr(self, "n_features_in_"):
            self.n_features_in_ = x.shape[1]
            self.errors_ = ErrorSums()
            self._units = self._declared(x.shape[1])
            exact = None if self._units is None else 1.0
            self.moments_ = Moments(x.shape[1] + len(self.grid), exact)
        rows = np.concatenate([x, q], axis=1)
        self.errors_.add(len(q), errors)
        self.moments_.update(rows if self._units is None else rows / self._units)
        self._fit = None
        return self

    def merge(self, other: GlobalFrechetRegression) -> Self:
        """Add all that the other has seen."""
        self._require("moments_")
        other._require("moments_")
        if _as_list(self._units) != _as_list(other._units):
            raise GridMismatchError("only regressions with the same resolutions can be merged")
        self.moments_.merge(other.moments_)
        self.errors_.merge(other.errors_)
        self._fit = None
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Return the predicted quantile vectors, shape (n, m), projected into the support."""
        return projected(self.predict_unprojected(X), self.support)

    def predict_unprojected(self, X: ArrayLike) -> Floats:
        """Return the weighted means of quantile vectors, which may fall or leave the support."""
        fitted = self.fitted
        return fitted.lines(predictors(X, columns=self.n_features_in_))

    def error(self, X: ArrayLike) -> Floats:
        """Return bounds of the W2 distance between each prediction and that from the data: sqrt(1 + Mahalanobis^2) rms(e).

        The mean of the squared weights s_i(x) is 1 + Mahalanobis^2(x), and the projection brings vectors no further apart.
        """
        x = predictors(X, columns=self.n_features_in_)
        return np.asarray(np.sqrt(1 + self.fitted.mahalanobis(x)) * self.errors_.rms)

    def score(self, X: ArrayLike, Q: ArrayLike) -> float:
        """Return the Fréchet R2 of projected predictions: 1 - sum of W2^2 to them over that to the barycenter of Q."""
        return self.r2(X, Q).projected.value  # type: ignore[union-attr]  # rows are given

    def r2(self, X: ArrayLike | None = None, Q: ArrayLike | None = None) -> R2:
        """Return R2 before and, for given rows, after projection, with intervals from the errors of the vectors.

        Without rows it is that of the rows learned from, out of the sums alone. Projection brings a prediction nearer to every
        quantile vector, so the projected R2 is never the smaller one.
        """
        fitted, w, rms = self.fitted, self.grid.weights, self.errors_.rms
        if X is None or Q is None:
            unexplained, total = float(fitted.residual.diagonal() @ w), float(fitted.total.diagonal() @ w)
            return R2(_r2_within(unexplained, total, rms, rms), None)
        q = self.grid.check(Q)
        x = predictors(X, rows=len(q), columns=self.n_features_in_)
        centred = q - q.mean(axis=0)
        whole = float(self.grid.inner(centred, centred).mean())
        lines = fitted.lines(x)
        reach = rms * (1 + fitted.gain(x))
        shares: list[Certified] = []
        for prediction in (lines, projected(lines, self.support)):
            off = q - prediction
            shares.append(_r2_within(float(self.grid.inner(off, off).mean()), whole, reach, rms))
        return R2(*shares)

    def f_test(self, columns: list[int] | None = None) -> FTest:
        """Test whether the predictors, or those in ``columns`` given the others, explain anything."""
        fitted = self.fitted
        p = self.n_features_in_
        tested = list(range(p)) if columns is None else sorted(set(columns))
        if not tested or not set(tested) <= set(range(p)):
            raise GridMismatchError(f"columns to test must be some of 0..{p - 1}")
        block = fitted.x_inverse[np.ix_(tested, tested)]
        explained = fitted.slopes[tested]
        # The sum of squares that the tested predictors add to the others', from the partitioned inverse.
        added = np.einsum("im,ij,jm->m", explained, np.linalg.inv(block), explained)
        statistic = fitted.n * float(added @ self.grid.weights)
        return wasserstein_f_test(statistic, len(tested), fitted.residual, self.grid, fitted.n)

    @property
    def fitted(self) -> Fit:
        """The regression as of now.

        Raises:
            NotFittedError: nothing was seen yet.
            TooFewDistributionsError: fewer than two distributions were seen.
            ZeroVariancePredictorError, SingularCovarianceError: the predictors admit no regression.
        """
        self._require("n_features_in_")
        if self._fit is None:
            p, moments = self.n_features_in_, self.moments_
            if moments.count < 2:
                raise TooFewDistributionsError("a regression needs at least two distributions")
            unit = np.ones(moments.width) if self._units is None else self._units
            mean = moments.mean * unit
            covariance = moments.covariance(ddof=0) * np.outer(unit, unit)
            self._fit = Fit.of(float(moments.count), p, mean, covariance)
        return self._fit

    def _declared(self, p: int) -> Floats | None:
        if self.resolutions is None:
            return None
        x, q = self.resolutions
        units = np.concatenate([np.broadcast_to(np.asarray(x, np.float64), (p,)), np.full(len(self.grid), q)])
        if not (np.isfinite(units).all() and (units > 0).all()):
            raise GridMismatchError(
                "resolutions must be positive: one for all predictors or one for each, and one for Q"
            )
        return units


def _as_list(units: Floats | None) -> list[float] | None:
    return None if units is None else units.tolist()


def _r2_within(unexplained: float, total: float, residual_error: float, total_error: float) -> Certified:
    """Return 1 - unexplained / total, with an interval by how far errors can move the roots of both."""
    if not total > 0:
        return Certified(float("nan"), -np.inf, 1.0)
    a, b = np.sqrt(max(unexplained, 0.0)), np.sqrt(total)
    most = np.inf if b <= total_error else ((a + residual_error) / (b - total_error)) ** 2
    least = (max(a - residual_error, 0.0) / (b + total_error)) ** 2
    slack = 1e-12
    return Certified(1 - max(unexplained, 0.0) / total, float(1 - most) - slack, float(1 - least) + slack)
