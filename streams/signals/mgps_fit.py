"""Fitting the prior of the gamma Poisson shrinker: squashing, several starts, the best likelihood wins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special
from threadpoolctl import ThreadpoolController

from streams.signals.mgps import Prior
from streams.signals.tables import Floats

STARTS = (
    Prior(0.2, 0.1, 2.0, 4.0, 1 / 3),
    Prior(0.2, 0.06, 1.4, 1.8, 0.1),
    Prior(0.1, 0.1, 10.0, 10.0, 0.2),
    Prior(1.0, 1.0, 2.0, 2.0, 0.3),
    Prior(3.0, 0.4, 2.0, 2.0, 0.07),
    Prior(0.5, 0.5, 5.0, 5.0, 0.5),
)
# Points kept for each count: the search for a start to polish, and the polish, whose likelihood is within
# 1e-4 of that of an unsquashed fit on tables of 100,000 cells.
COARSE, FINE = 100, 2000
# Logs of shapes and rates, and the logit of the weight: wide enough for any table, narrow enough for doubles.
_BOUNDS = [(-9.0, 9.0)] * 4 + [(-14.0, 14.0)]


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells to fit to: counts, expected counts and weights, arrays of shape (k,).

    ``truncated``: only pairs that occur are given, so each part of the mixture is conditional on a count of
    at least 1, as in DuMouchel and Pregibon 2001.
    """

    n: Floats
    e: Floats
    weight: Floats
    truncated: bool

    @classmethod
    def of(cls, observed: ArrayLike, expected: ArrayLike, *, truncated: bool = True) -> Cells:
        """Return cells of weight 1. Raises ValueError for expected counts or truncated counts of 0."""
        n, e = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (observed, expected))
        if not len(n) or not (np.isfinite(e) & (e > 0)).all() or not (n >= (1 if truncated else 0)).all():
            raise ValueError("cells need positive expected counts, and counts of at least 1 where truncated")
        return cls(n, e, np.ones_like(n), truncated)

    def squashed(self, points: int = COARSE) -> Cells:
        """Replace the cells of each count by about ``points`` averages of neighbours in expected count.

        The tenth with the largest expected counts stay as they are (DuMouchel and Pregibon 2001). Sizes of
        bins follow from the data alone.
        """
        order = np.lexsort((self.e, self.n))
        n, e, weight = self.n[order], self.e[order], self.weight[order]
        starts = np.flatnonzero(np.append(True, n[1:] != n[:-1]))
        bins = np.concatenate(
            [_bins(b - a, points) for a, b in zip(starts, [*starts[1:], len(n)], strict=True)]
        )
        begin = np.flatnonzero(bins)
        total = np.add.reduceat(weight, begin)
        return Cells(n[begin], np.add.reduceat(weight * e, begin) / total, total, self.truncated)


def _bins(size: int, points: int) -> NDArray[np.bool_]:
    """Mark the first cell of each bin among ``size`` cells in rising order of expected count."""
    kept = min(size, max(points // 10, 1))
    width = max(1, -(-(size - kept) // points))
    marks = np.zeros(size, dtype=np.bool_)
    marks[: size - kept : width] = True
    marks[size - kept :] = True
    return marks


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted prior and its negative log-likelihood on the cells given."""

    prior: Prior
    neg_log_likelihood: float


def neg_log_likelihood(prior: Prior, cells: Cells) -> float:
    """Return the negative log-likelihood of a prior."""
    return Likelihood(cells)(_encoded(prior))[0]


def fit_prior(cells: Cells, start: Prior | None = None) -> Fit:
    """Return the prior of the largest likelihood found from several starts, then polished.

    ``start`` adds a start of one's own, such as the prior fitted before more reports came. Starts are
    compared on coarsely squashed cells, the best is polished on finely squashed ones. Deterministic.
    """
    # Several threads on vectors this short wait for each other longer than they work, a hundredfold on a busy machine.
    with _blas().limit(limits=1, user_api="blas"):
        return _fitted(cells, start)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _fitted(cells: Cells, start: Prior | None) -> Fit:
    small = Likelihood(cells.squashed())
    starts = [_encoded(prior) for prior in (*STARTS, *([start] if start else []))]
    found = min((_minimised(small, theta, 300) for theta in starts), key=lambda result: result[1])
    theta, _ = _minimised(Likelihood(cells.squashed(FINE)), found[0], 300)
    prior = _decoded(theta)
    return Fit(prior, neg_log_likelihood(prior, cells))


def _minimised(likelihood: Likelihood, theta: Floats, steps: int) -> tuple[Floats, float]:
    result = optimize.minimize(
        likelihood,
        np.clip(theta, *np.transpose(_BOUNDS)),
        jac=True,
        method="L-BFGS-B",
        bounds=_BOUNDS,
        options={"maxiter": steps, "ftol": 1e-12, "gtol": 1e-6},
    )
    return result.x, float(result.fun)


def _encoded(prior: Prior) -> Floats:
    rates = np.log([prior.alpha1, prior.beta1, prior.alpha2, prior.beta2])
    return np.append(rates, special.logit(prior.p))


def _decoded(theta: Floats) -> Prior:
    a1, b1, a2, b2 = np.exp(theta[:4]).tolist()
    return Prior(a1, b1, a2, b2, float(special.expit(theta[4])))


class Likelihood:
    """The negative log-likelihood of cells and its gradient, as a function of the encoded prior.

    Gamma functions are evaluated once for each distinct count, since large tables have few of them.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._counts, self._which = np.unique(cells.n, return_inverse=True)
        self._constant = float(cells.weight @ special.gammaln(cells.n + 1))

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Return the value and the gradient of shape (5,)."""
        a1, b1, a2, b2 = np.exp(theta[:4]).tolist()
        p = float(special.expit(theta[4]))
        log_p, log_q = -np.logaddexp(0, -theta[4]), -np.logaddexp(0, theta[4])
        f1, alpha1, beta1 = self._part(a1, b1)
        f2, alpha2, beta2 = self._part(a2, b2)
        whole = np.logaddexp(log_p + f1, log_q + f2)
        share1 = self._cells.weight * np.exp(log_p + f1 - whole)
        share2 = self._cells.weight * np.exp(log_q + f2 - whole)
        value = self._constant - float(self._cells.weight @ whole)
        slopes = [share1 @ alpha1 * a1, share1 @ beta1 * b1, share2 @ alpha2 * a2, share2 @ beta2 * b2]
        mixing = share1.sum() * (1 - p) - share2.sum() * p
        return value, -np.array([*slopes, mixing])

    def _part(self, alpha: float, beta: float) -> tuple[Floats, Floats, Floats]:
        """Return the log probabilities of one part, less the factorial, and their slopes in alpha and beta."""
        n, e = self._cells.n, self._cells.e
        gammas = special.gammaln(alpha + self._counts) - special.gammaln(alpha)
        digammas = special.digamma(alpha + self._counts) - special.digamma(alpha)
        log_none = -np.log1p(e / beta)
        none_beta = alpha * e / (beta * (beta + e))
        value = gammas[self._which] + alpha * log_none + n * (np.log(e) - np.log(beta + e))
        by_alpha = digammas[self._which] + log_none
        by_beta = none_beta - n / (beta + e)
        if self._cells.truncated:
            # expm1 keeps the digits of P(count >= 1) where expected counts are small.
            value -= np.log(-np.expm1(alpha * log_none))
            odds = np.exp(alpha * log_none) / -np.expm1(alpha * log_none)
            by_alpha += odds * log_none
            by_beta += odds * none_beta
        return value, by_alpha, by_beta
