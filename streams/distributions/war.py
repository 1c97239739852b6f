"""Wasserstein autoregression: forecasts of the next distribution of a series, and how far off they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from scipy.stats import chi2, norm

from streams.distributions.errors import GridMismatchError, NoVariationError, TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.lagged import LaggedMoments
from streams.distributions.moments import checked_rows
from streams.distributions.monotone import Support, checked_quantiles, projected
from streams.distributions.quadrature import Rule, weights_of

Floats = NDArray[np.float64]
Self = TypeVar("Self", bound="WassersteinAutoregression")


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantile vectors of the next steps and their band, each of shape (steps, m), all nondecreasing.

    ``gap`` (steps,) is the W2 distance that the projection moved the mean: 0 where it did not bind.
    """

    mean: Floats
    lower: Floats
    upper: Floats
    gap: Floats


@dataclass(frozen=True, slots=True)
class Surprise:
    """How unexpected each observed distribution is: its residual (n, m), squared W2 size and p-value, both (n,)."""

    residual: Floats
    size: Floats
    p_value: Floats


@dataclass(frozen=True, slots=True)
class Solution:
    """What Yule-Walker gives; ``noise`` (m, m) is the innovations' covariance, ``spread`` that of the coefficients."""

    mean: Floats
    autocovariances: Floats
    coefficients: Floats
    criterion: Floats
    noise: Floats
    spread: Floats


class WassersteinAutoregression(Estimator):
    """Fit WAR(p): T_t = sum of beta_j T_(t-j) + e_t, T the W2 log map at the barycenter (Zhang, Kokoszka, Petersen 2022).

    With ``tangents``, rows are departures from a reference rather than quantile vectors: they need not rise, and forecasts are
    not projected.

    Distributions are quantile vectors on ``levels`` of shape (m,), rows in the order of time. Coefficients solve the
    Yule-Walker equations of the scalar Wasserstein autocovariances; ``order=None`` takes the one with the least
    ``criterion`` up to ``max_order``. Statistics are additive: ``partial_fit`` goes on in time, ``gap`` notes a missing
    distribution, ``append`` joins the estimator of the segment that directly follows, ``merge`` adds one of another
    series (a site) in any order. Streaming equals batch to 1e-10; with ``resolution`` to the bit (see ``LaggedMoments``).
    """

    def __init__(
        self,
        levels: Floats,
        order: int | None = 1,
        *,
        max_order: int = 5,
        criterion: Literal["bic", "aic"] = "bic",
        quadrature: Rule = "trapezoid",
        support: Support | None = None,
        resolution: float | None = None,
        tangents: bool = False,
    ) -> None:
        self.levels, self.order, self.max_order, self.criterion = levels, order, max_order, criterion
        self.tangents = tangents
        self.quadrature, self.support, self.resolution = quadrature, support, resolution

    # --- learning

    def fit(self: Self, X: Any, y: object = None) -> Self:  # noqa: ARG002
        """Learn from a series of shape (n, m) alone, forgetting earlier ones.

        Raises:
            DistributionError: no quantile vectors, all equal, or fewer than the order and two more.
        """
        self.moments_ = self._empty()
        self.partial_fit(X)
        self._solved()
        return self

    def partial_fit(self: Self, X: Any, y: object = None) -> Self:  # noqa: ARG002
        """Learn from the distributions that follow, shape (n, m)."""
        if not hasattr(self, "moments_"):
            self.moments_ = self._empty()
        self.moments_.update(self._checked(X))
        self._solution: Solution | None = None
        return self

    def gap(self) -> None:
        """Note that at least one distribution is missing here, so that no pair is made across."""
        if hasattr(self, "moments_"):
            self.moments_.gap()

    def append(self: Self, following: WassersteinAutoregression) -> Self:
        """Learn what the estimator of the directly following segment has seen."""
        self._joined(following).append(following.moments_)
        return self

    def merge(self: Self, other: WassersteinAutoregression) -> Self:
        """Learn what the estimator of another series, or of a segment that does not follow directly, has seen."""
        self._joined(other).merge(other.moments_)
        return self

    # --- what was learned

    @property
    def mean_(self) -> Floats:
        """The barycenter, shape (m,)."""
        return self._solved().mean

    @property
    def autocovariances_(self) -> Floats:
        """The Wasserstein autocovariances at lags 0, 1, ..."""
        return self._solved().autocovariances

    @property
    def coefficients_(self) -> Floats:
        """beta_1 to beta_p, shape (p,)."""
        return self._solved().coefficients

    @property
    def coefficient_covariance_(self) -> Floats:
        """The asymptotic covariance of the coefficients' estimates, shape (p, p)."""
        return self._solved().spread

    @property
    def noise_covariance_(self) -> Floats:
        """The covariance of the innovations between levels, shape (m, m)."""
        return self._solved().noise

    @property
    def criterion_(self) -> Floats:
        """The criterion of orders 0, 1, ... ``max_order``; the least is chosen where no order is given."""
        return self._solved().criterion

    # --- forecasts

    def forecast(self, recent: Any = None, *, steps: int = 1, coverage: float = 0.95) -> Forecast:
        """Forecast the distributions that follow ``recent``, shape (at least p, m), or what was seen last.

        The band holds each quantile with the stated probability where innovations are Gaussian; its limits are projected
        to quantile vectors too.

        Raises:
            TooFewDistributionsError: there are fewer than p recent distributions.
        """
        solution = self._solved()
        p = len(solution.coefficients)
        rows = self.moments_.tail if recent is None else self._checked(recent)
        if len(rows) < p:
            raise TooFewDistributionsError(
                f"{len(rows)} recent distributions, an autoregression of order {p} needs {p}"
            )
        series = list(rows[len(rows) - p :] - solution.mean)
        for _ in range(steps):
            past = np.array(series[::-1][:p]).reshape(p, len(self.levels))
            series.append(solution.coefficients @ past)
        centre = solution.mean + np.array(series[p:])
        growth = np.cumsum(_impulse_response(solution.coefficients, steps) ** 2)
        reach = norm.ppf((1 + coverage) / 2) * np.sqrt(growth[:, None] * np.diag(solution.noise))
        mean = self._projected(centre)
        lower, upper = self._projected(centre - reach), self._projected(centre + reach)
        return Forecast(mean, lower, upper, np.sqrt(self._sizes(centre - mean)))

    def predict(self, X: Any) -> Floats:
        """Return for rows p, p+1, ... n of a series of shape (n, m) what the p rows before let expect, shape (n-p+1, m).

        The last row is the forecast of the distribution that follows.
        """
        return self._projected(self._expected(self._checked(X)))

    def surprise(self, X: Any) -> Surprise:
        """Return the residuals of rows p, p+1, ... of a series of shape (n, m) and how unexpected they are.

        The squared W2 size of a Gaussian innovation is a weighted sum of chi-squares; its p-value is Satterthwaite's.
        """
        X = self._checked(X)
        p = len(self.coefficients_)
        residual = X[p:] - self._expected(X)[:-1]
        size = self._sizes(residual)
        weights = weights_of(self.levels, self.quadrature)
        first = float(np.diag(self.noise_covariance_) @ weights)
        second = float(weights @ self.noise_covariance_**2 @ weights)
        p_value = chi2.sf(size * first / second, first**2 / second)
        return Surprise(residual, size, np.asarray(p_value))

    def score(self, X: Any, y: object = None) -> float:  # noqa: ARG002
        """Return the share of the Wasserstein variance of a series that one-step forecasts explain."""
        X = self._checked(X)
        p = len(self.coefficients_)
        left = self._sizes(X[p:] - self.predict(X)[:-1]).sum()
        return float(1 - left / self._sizes(X[p:] - self.mean_).sum())

    # --- inside

    def _checked(self, X: Any) -> Floats:
        return checked_rows(X, len(self.levels)) if self.tangents else checked_quantiles(X, self.levels)

    def _projected(self, rows: Floats) -> Floats:
        return rows if self.tangents else projected(rows, self.support)

    def _expected(self, X: Floats) -> Floats:
        """Unprojected, as a residual is one of the tangent space."""
        p = len(self.coefficients_)
        if len(X) < p:
            raise TooFewDistributionsError(
                f"{len(X)} distributions, an autoregression of order {p} needs {p}"
            )
        total = np.tile(self.mean_, (len(X) - p + 1, 1))
        for j, beta in enumerate(self.coefficients_, 1):
            total += beta * (X[p - j : len(X) - j + 1] - self.mean_)
        return total

    def _sizes(self, tangents: Floats) -> Floats:
        # A natural spline through squares may dip below zero between them.
        return np.asarray(np.maximum((tangents**2) @ weights_of(self.levels, self.quadrature), 0.0))

    def _empty(self) -> LaggedMoments:
        lags = self.max_order if self.order is None else max(self.order, self.max_order)
        return LaggedMoments(len(self.levels), lags, self.resolution)

    def _joined(self, other: WassersteinAutoregression) -> LaggedMoments:
        other._require("moments_")
        if not np.array_equal(self.levels, other.levels):
            raise GridMismatchError("estimators on different levels cannot be merged")
        if not hasattr(self, "moments_"):
            self.moments_ = self._empty()
        self._solution = None
        return self.moments_

    def _solved(self) -> Solution:
        self._require("moments_")
        if self._solution is None:
            self._solution = self._solve()
        return self._solution

    def _solve(self) -> Solution:
        moments = self.moments_
        least = (1 if self.order is None else self.order) + 2
        if moments.count < least:
            raise TooFewDistributionsError(f"{moments.count} distributions seen, at least {least} are needed")
        covariances = moments.covariances()
        weights = weights_of(self.levels, self.quadrature)
        acvf = np.einsum("hii,i->h", covariances, weights)
        if not acvf[0] > 0:
            raise NoVariationError("all distributions are equal, so that there is nothing to forecast")
        criterion = self._criteria(acvf, moments.count)
        order = int(np.argmin(criterion)) if self.order is None else self.order
        coefficients = yule_walker(acvf, order)
        noise = _noise(covariances, coefficients)
        spread = _spread(covariances, acvf, noise, weights, order) / moments.count
        return Solution(moments.mean, acvf, coefficients, criterion, noise, spread)

    def _criteria(self, acvf: Floats, count: int) -> Floats:
        penalty = np.log(count) if self.criterion == "bic" else 2.0
        orders = range(min(self.max_order, count - 2) + 1)
        variances = np.array([acvf[0] - yule_walker(acvf, p) @ acvf[1 : p + 1] for p in orders])
        tiny = np.finfo(float).tiny
        return np.asarray(count * np.log(np.maximum(variances, tiny)) + penalty * np.array(orders))


def yule_walker(autocovariances: Floats, order: int) -> Floats:
    """Return the coefficients, shape (order,), whose autoregression has the given autocovariances."""
    if order == 0:
        return np.empty(0)
    return np.asarray(
        np.linalg.solve(toeplitz(autocovariances[:order]), autocovariances[1 : order + 1]), np.float64
    )


def _impulse_response(coefficients: Floats, steps: int) -> Floats:
    response = np.zeros(steps)
    response[0] = 1
    for k in range(1, steps):
        reach = min(k, len(coefficients))
        response[k] = coefficients[:reach] @ response[k - reach : k][::-1]
    return response


def _at(covariances: Floats, lag: int) -> Floats:
    return np.asarray(covariances[lag] if lag >= 0 else covariances[-lag].T)


def _noise(covariances: Floats, coefficients: Floats) -> Floats:
    """The covariance of T_t - sum beta_j T_(t-j)."""
    filters = np.concatenate([[1.0], -coefficients])
    total: Floats = np.zeros(covariances.shape[1:])
    for i, a in enumerate(filters):
        for j, b in enumerate(filters):
            total += a * b * _at(covariances, i - j)
    return total


def _spread(covariances: Floats, acvf: Floats, noise: Floats, weights: Floats, order: int) -> Floats:
    """G^-1 V G^-1 with G the Toeplitz matrix of autocovariances and V_ij the integral of noise times C_(i-j)."""
    if order == 0:
        return np.empty((0, 0))
    v = np.array([weights @ (noise * _at(covariances, h)) @ weights for h in range(order)])
    inverse = np.linalg.inv(toeplitz(acvf[:order]))
    return np.asarray(inverse @ toeplitz(v) @ inverse)
