"""The multi-item gamma Poisson shrinker: scores of pairs under a mixture prior (DuMouchel 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from streams.signals.tables import Floats, by_distinct


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
        first = by_distinct(special.digamma, self.shape1) - np.log(self.rate1)
        second = by_distinct(special.digamma, self.shape2) - np.log(self.rate2)
        return np.asarray(np.exp(self.weight * first + (1 - self.weight) * second))

    def cdf(self, rate: ArrayLike) -> Floats:
        """Return the posterior probability that the relative reporting rate is at most ``rate``."""
        at = np.asarray(rate, dtype=np.float64)
        first = special.gammainc(self.shape1, self.rate1 * at)
        second = special.gammainc(self.shape2, self.rate2 * at)
        return np.asarray(self.weight * first + (1 - self.weight) * second)

    def density(self, rate: Floats) -> Floats:
        """Return the posterior density."""
        log_rate = np.log(rate)
        parts = ((self.shape1, self.rate1, self.weight), (self.shape2, self.rate2, 1 - self.weight))
        total = np.zeros(len(self.weight))
        for shape, b, weight in parts:
            log_constant = by_distinct(special.gammaln, shape)
            total += weight * np.exp((shape - 1) * log_rate + shape * np.log(b) - b * rate - log_constant)
        return total

    def quantile(self, level: float) -> Floats:
        """Return posterior quantiles, to about 1e-12 relative, such as EB05 at ``level`` 0.05.

        The quantile of a mixture lies between those of its parts; Newton's steps are kept inside that
        bracket.
        """
        first = by_distinct(lambda x: special.gammaincinv(x, level), self.shape1) / self.rate1
        second = by_distinct(lambda x: special.gammaincinv(x, level), self.shape2) / self.rate2
        low, high = np.minimum(first, second), np.maximum(first, second)
        found = np.where(self.weight > 0.5, first, second)
        # Where one part has all the weight that counts, its quantile is the answer to rounding.
        open_ = np.flatnonzero(
            (self.weight > 1e-15) & (self.weight < 1 - 1e-15) & (high - low > 1e-13 * high)
        )
        part = self.take(open_)
        bottom, top, at = low[open_], high[open_], found[open_]
        for _ in range(200):
            if not len(open_):
                break
            excess = part.cdf(at) - level
            bottom, top = np.where(excess <= 0, at, bottom), np.where(excess > 0, at, top)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                # In the logarithm, where distribution functions bend less.
                step = at * np.exp(-excess / (at * part.density(at)))
            inside = (step > bottom) & (step < top)
            moved = np.where(inside, step, (bottom + top) / 2)
            found[open_] = moved
            still = np.flatnonzero(np.abs(moved - at) > 1e-12 * moved)
            open_, part, bottom, top, at = (
                open_[still], part.take(still), bottom[still], top[still], moved[still],
            )  # fmt: skip
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


def false_discovery_rates(null_probability: ArrayLike) -> Floats:
    """Return for each pair the share of false signals expected if it and all likelier ones were raised (Ahmed et al. 2009).

    ``null_probability`` is the posterior probability of no raised rate, such as ``cdf(1.0)``.
    """
    null = np.asarray(null_probability, dtype=np.float64)
    order = np.argsort(null, kind="stable")
    rates = np.empty_like(null)
    rates[order] = np.cumsum(null[order]) / np.arange(1, len(null) + 1)
    return rates
