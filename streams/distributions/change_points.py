"""Fréchet change points: where a sequence of distributions changes its mean or its variance (Dubey and Müller 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import DistributionError, GridMismatchError, TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.grid import Floats, Grid


@dataclass(frozen=True, eq=False)
class ChangePoint:
    """The most likely change of a sequence, whether it is one or not.

    ``index`` is the number of distributions before it, ``statistic`` the maximum of n T_n(u) and ``scan`` all of its values from
    index ``first`` on. ``p_value`` is for the null of no change, from the limit law on the same interval of u.
    """

    index: int
    statistic: float
    p_value: float
    first: int
    scan: Floats


def scan(grid: Grid, q: Floats, cut: float = 0.1) -> tuple[int, Floats]:
    """Return the first index scanned and n T_n(u) for it and all that follow, in O(n m) by prefix sums.

    T_n(u) = u (1 - u) / s^2 ((V1 - V2)^2 + (C1 - V1 + C2 - V2)^2) with V the variances of both parts and C those about the other
    part's mean; as C = V + |mean1 - mean2|^2, the second term is twice that squared distance. s^2 is the variance of squared
    distances to the mean of all.
    """
    n = len(q)
    centred = q - q.mean(axis=0)
    squares = grid.inner(centred, centred)
    spread = float(np.mean(squares * squares) - np.mean(squares) ** 2)
    if not spread > 1e-14 * float(np.mean(squares)) ** 2:
        raise DistributionError(
            "the distances to the mean are all equal, so the scan has no scale; give more distributions"
        )
    first = max(int(np.ceil(n * cut)), 1)
    last = min(int(np.floor(n * (1 - cut))), n - 1)
    k = np.arange(first, last + 1)
    sums, total = np.cumsum(centred, axis=0), np.cumsum(squares)
    before = sums[k - 1] / k[:, None]
    # All is centred, so the sum of the rest is minus the sum before.
    after = -sums[k - 1] / (n - k)[:, None]
    v1 = total[k - 1] / k - grid.inner(before, before)
    v2 = (total[-1] - total[k - 1]) / (n - k) - grid.inner(after, after)
    apart = before - after
    moved = 2 * grid.inner(apart, apart)
    u = k / n
    return first, np.asarray(n * u * (1 - u) / spread * ((v1 - v2) ** 2 + moved**2))


class FrechetChangePoint(Estimator):
    """Find a change in a sequence of distributions, learned at once by ``fit`` or in time order by ``partial_fit``.

    ``merge`` appends the segment that follows. ``cut`` leaves out that share at either end, where one part is too short.
    """

    def __init__(self, grid: Grid, *, cut: float = 0.1) -> None:
        self.grid, self.cut = grid, cut

    def fit(self, Q: ArrayLike, y: None = None) -> Self:
        """Start anew with quantile vectors (n, m) in time order."""
        self.Q_ = np.empty((0, len(self.grid)))
        return self.partial_fit(Q, y)

    def partial_fit(self, Q: ArrayLike, y: None = None) -> Self:
        """Add the distributions that follow in time."""
        if not hasattr(self, "Q_"):
            return self.fit(Q, y)
        self.Q_ = np.concatenate([self.Q_, self.grid.check(Q)])
        return self

    def merge(self, later: FrechetChangePoint) -> Self:
        """Append the segment that follows this one in time."""
        self._require("Q_")
        later._require("Q_")
        if self.grid != later.grid:
            raise GridMismatchError("only segments on the same grid can be joined")
        self.Q_ = np.concatenate([self.Q_, later.Q_])
        return self

    def test(self, rng: np.random.Generator | None = None, rounds: int = 2000) -> ChangePoint:
        """Return the maximum of the scan and its p-value; ``rng`` draws the limit law (a fixed stream if none is given).

        Raises:
            TooFewDistributionsError: the parts at the ends would have no two distributions.
        """
        self._require("Q_")
        if not 0 < self.cut < 0.5:
            raise DistributionError("cut must be between 0 and 1/2")
        if len(self.Q_) * (1 - 2 * self.cut) < 2 or len(self.Q_) < 4:
            raise TooFewDistributionsError(
                "a change point needs at least four distributions, two of them between the cuts"
            )
        first, values = scan(self.grid, self.Q_, self.cut)
        best = int(values.argmax())
        statistic = float(values[best])
        p = limit_tail(statistic, self.cut, rounds, rng or np.random.default_rng(0))
        return ChangePoint(first + best, statistic, p, first, values)

    def predict(self, Q: ArrayLike | None = None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return for each distribution learned, or given, whether it is after the change (1) or before (0)."""
        model = self if Q is None else type(self)(self.grid, cut=self.cut).fit(Q)
        return (np.arange(len(model.Q_)) >= model.test().index).astype(np.int64)

    def score(self, Q: ArrayLike, y: None = None) -> float:
        """Return the maximum of the scan over the given sequence."""
        return type(self)(self.grid, cut=self.cut).fit(Q, y).test().statistic


def limit_tail(
    statistic: float, cut: float, rounds: int, rng: np.random.Generator, steps: int = 1000
) -> float:
    """Return P(sup of B(u)^2 / (u (1 - u)) > statistic) over [cut, 1 - cut] of a Brownian bridge B, by simulation."""
    u = np.arange(1, steps) / steps
    inside = (u >= cut) & (u <= 1 - cut)
    above = 0
    for begin in range(0, rounds, 200):
        size = min(200, rounds - begin)
        walk = np.cumsum(rng.normal(scale=np.sqrt(1 / steps), size=(size, steps)), axis=1)
        bridge = walk[:, :-1] - u * walk[:, -1:]
        above += int(((bridge**2 / (u * (1 - u)))[:, inside].max(axis=1) >= statistic).sum())
    return (1 + above) / (1 + rounds)
