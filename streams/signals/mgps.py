"""The multi-item gamma Poisson shrinker: scores of pairs under a mixture prior (DuMouchel 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from streams.signals.tables import Floats


@dataclass(frozen=True, slots=True)
class Prior:
    """A mixture of two gamma distributions of the relative reporting rate; ``p`` is the weight of the first.

    ``beta1`` and ``beta2`` are rates.
    """

    alpha1: float
    beta1: float
    alpha2: float
    beta2: float
    p: float

    def __post_init__(self) -> None:
        if not (min(self.alpha1, self.beta1, self.alpha2, self.beta2) > 0 and 0 <= self.p <= 1):
            raise ValueError("shapes and rates must be positive and the weight in [0, 1]")


@dataclass(frozen=True, slots=True)
class Posterior:
    """Posterior gamma mixtures of k pairs: shapes and rates of both parts, and the weight of the first."""

    shape1: Floats
    rate1: Floats
    shape2: Floats
    rate2: Floats
    weight: Floats

    def ebgm(self) -> Floats:
        """Return the empirical Bayes geometric means, exp(E[log of the relative reporting rate])."""
        first = special.digamma(self.shape1) - np.log(self.rate1)
        second = special.digamma(self.shape2) - np.log(self.rate2)
        return np.asarray(np.exp(self.weight * first + (1 - self.weight) * second))

    def cdf(self, rate: ArrayLike) -> Floats:
        """Return the posterior probability that the relative reporting rate is at most ``rate``."""
        at = np.asarray(rate, dtype=np.float64)
        first = special.gammainc(self.shape1, self.rate1 * at)
        second = special.gammainc(self.shape2, self.rate2 * at)
        return np.asarray(self.weight * first + (1 - self.weight) * second)

    def density(self, rate: Floats) -> Floats:
        """Return the posterior density."""
        parts = ((self.shape1, self.rate1, self.weight), (self.shape2, self.rate2, 1 - self.weight))
        return np.asarray(
            sum(
                weight
                * np.exp(
                    special.xlogy(shape - 1, rate) + shape * np.log(b) - b * rate - special.gammaln(shape)
                )
                for shape, b, weight in parts
            )
        )

    def quantile(self, level: float) -> Floats:
        """Return posterior quantiles, to about 1e-12 relative, such as EB05 at ``level`` 0.05.

        The quantile of a mixture lies between those of its parts; Newton's steps are kept inside that
        bracket.
        """
        first = special.gammaincinv(self.shape1, level) / self.rate1
        second = special.gammaincinv(self.shape2, level) / self.rate2
        low, high = np.minimum(first, second), np.maximum(first, second)
        found = np.where(self.weight > 0.5, first, second)
        open_ = np.arange(len(found))
        for _ in range(200):
            part, at = self.take(open_), found[open_]
            excess = part.cdf(at) - level
            low[open_] = np.where(excess <= 0, at, low[open_])
            high[open_] = np.where(excess > 0, at, high[open_])
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = at - excess / part.density(at)
            inside = (step > low[open_]) & (step < high[open_])
            moved = np.where(inside, step, (low[open_] + high[open_]) / 2)
            found[open_] = moved
            open_ = open_[np.abs(moved - at) > 1e-13 * moved]
            if not len(open_):
                break
        return np.asarray(found)

    def take(self, pairs: NDArray[np.intp]) -> Posterior:
        """Return the posteriors of some of the pairs."""
        return Posterior(
            self.shape1[pairs], self.rate1[pairs], self.shape2[pairs], self.rate2[pairs], self.weight[pairs]
        )


def posterior(prior: Prior, observed: ArrayLike, expected: ArrayLike) -> Posterior:
    """Return the posteriors of pairs with the given counts, arrays of shape (k,).

    Raises ValueError unless every expected count is positive.
    """
    n = np.atleast_1d(np.asarray(observed, dtype=np.float64))
    e = np.atleast_1d(np.asarray(expected, dtype=np.float64))
    if not (e > 0).all():
        raise ValueError("expected counts must be positive")
    first = log_negative_binomial(prior.alpha1, prior.beta1, n, e)
    second = log_negative_binomial(prior.alpha2, prior.beta2, n, e)
    weight = special.expit(special.logit(prior.p) + first - second)
    return Posterior(prior.alpha1 + n, prior.beta1 + e, prior.alpha2 + n, prior.beta2 + e, weight)


def log_negative_binomial(alpha: float, beta: float, n: Floats, e: Floats) -> Floats:
    """Return the log probabilities of counts whose Poisson mean is ``e`` times a gamma variable."""
    log_choose = special.gammaln(alpha + n) - special.gammaln(alpha) - special.gammaln(n + 1)
    return np.asarray(log_choose - alpha * np.log1p(e / beta) - special.xlog1py(n, beta / e))
