"""Fréchet analysis of variance in W2, batch or streaming (Dubey and Müller 2019)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from streams.distributions.errors import DistributionError, GridMismatchError, TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.grid import Floats, Grid
from streams.distributions.moments import Moments


@dataclass(frozen=True, slots=True)
class Anova:
    """A test that groups have the same Fréchet mean and variance.

    ``within`` holds each group's Fréchet variance; ``location`` is pooled variance less the mean of those within, 0 when the group
    means agree; ``spread`` compares the variances.
    """

    statistic: float
    p_value: float
    location: float
    spread: float
    within: tuple[float, ...]
    groups: tuple[Hashable, ...]
    bootstrap_p: float | None = None


class FrechetAnova(Estimator):
    """Test groups of distributions for equal Fréchet means and variances, learned by ``fit`` or ``partial_fit`` and ``merge``.

    Per group it keeps sums over (Q, |Q - o|^2) with o the first vector seen, from which fourth powers of distances to the
    group's mean follow. With a ``resolution`` o is 0 and they are integers, |Q|^2 in steps of the squared resolution, so that
    merging in any order gives the same bits.
    """

    def __init__(self, grid: Grid, *, resolution: float | None = None) -> None:
        self.grid, self.resolution = grid, resolution

    def fit(self, Q: ArrayLike, y: Sequence[Hashable] | np.ndarray[tuple[int], np.dtype[np.generic]]) -> Self:
        """Start anew with quantile vectors (n, m) and their groups (n,)."""
        self.groups_: dict[Hashable, Moments] = {}
        q = self.grid.check(Q)
        self.origin_ = q[0].copy() if self.resolution is None and len(q) else np.zeros(len(self.grid))
        return self.partial_fit(Q, y)

    def partial_fit(
        self, Q: ArrayLike, y: Sequence[Hashable] | np.ndarray[tuple[int], np.dtype[np.generic]]
    ) -> Self:
        """Add quantile vectors and their groups."""
        if not hasattr(self, "groups_"):
            return self.fit(Q, y)
        q = self.grid.check(Q)
        labels = np.asarray(y)
        if labels.shape != (len(q),):
            raise GridMismatchError(f"{len(q)} distributions need {len(q)} group labels")
        unit = self.resolution
        # Squares about a fixed origin add up, those about a running mean would not.
        steps = q if unit is None else np.rint(q / unit)
        off = steps - self.origin_
        rows = np.concatenate([steps, (off * off * self.grid.weights).sum(axis=1, keepdims=True)], axis=1)
        for group in sorted(set(labels.tolist()), key=str):
            moments = self.groups_.setdefault(group, Moments(rows.shape[1], None if unit is None else 1.0))
            moments.update(rows[labels == group])
        return self

    def merge(self, other: FrechetAnova) -> Self:
        """Add all that the other has seen, group by group."""
        self._require("groups_")
        other._require("groups_")
        if self.grid != other.grid or self.resolution != other.resolution:
            raise GridMismatchError("only tests on the same grid and resolution can be merged")
        for group, moments in other.groups_.items():
            mine = self.groups_.setdefault(group, Moments(moments.width, moments.resolution))
            mine.merge(
                moments if self.resolution is not None else self._at_own_origin(moments, other.origin_)
            )
        return self

    def _at_own_origin(self, moments: Moments, origin: Floats) -> Moments:
        """|Q - o|^2 about another origin is linear in (Q, |Q - o'|^2), so moments follow without the rows."""
        w, matrix, shift = self.grid.weights, np.eye(moments.width), np.zeros(moments.width)
        matrix[-1, :-1] = 2 * w * (origin - self.origin_)
        shift[-1] = float(w @ (self.origin_**2 - origin**2))
        return moments.shifted(matrix, shift)

    def test(self) -> Anova:
        """Return the statistic n U / sum(l/s^2) + n F^2 / sum(l^2 s^2) and its asymptotic p-value, chi-square with k - 1 degrees.

        Raises:
            TooFewDistributionsError: there are fewer than two groups, or fewer than two distributions in one.
            DistributionError: all distances within a group are equal, so that their variance, a divisor, is 0.
        """
        self._require("groups_")
        names = sorted(self.groups_, key=str)
        if len(names) < 2:
            raise TooFewDistributionsError("analysis of variance needs at least two groups")
        parts = [self._group(self.groups_[name]) for name in names]
        n = np.array([part[0] for part in parts])
        means = np.stack([part[1] for part in parts])
        return anova_of(self.grid, n, means, [p[2] for p in parts], [p[3] for p in parts], tuple(names))

    def bootstrap(self, Q: ArrayLike, y: ArrayLike, rounds: int, rng: np.random.Generator) -> Anova:
        """Test the given rows with the p-value of resampling from the pooled sample, better for small groups."""
        q, labels = self.grid.check(Q), np.asarray(y)
        found = type(self)(self.grid).fit(q, labels).test()
        above = used = 0
        for _ in range(rounds):
            try:
                drawn = type(self)(self.grid).fit(q[rng.integers(0, len(q), len(q))], labels).test()
            except DistributionError:
                continue
            used += 1
            above += drawn.statistic >= found.statistic
        p = (1 + above) / (1 + used)
        return Anova(**{name: getattr(found, name) for name in Anova.__slots__} | {"bootstrap_p": p})

    def _group(self, moments: Moments) -> tuple[int, Floats, float, float]:
        """Return count, mean, Fréchet variance and the variance of squared distances to the mean."""
        if moments.count < 2:
            raise TooFewDistributionsError("each group needs at least two distributions")
        unit = 1.0 if self.resolution is None else self.resolution
        mean, covariance = moments.mean, moments.covariance(ddof=0)
        w, m = self.grid.weights, len(self.grid)
        # d^2 = |Q - o|^2 - 2 <Q, mean - o> + constant is a linear function of the row, so its variance is a quadratic form.
        direction = np.append((self.origin_ - mean[:m]) * w * 2, 1.0)
        variance = float(covariance.diagonal()[:m] @ w)
        return (
            moments.count,
            mean[:m] * unit,
            variance * unit**2,
            float(direction @ covariance @ direction) * unit**4,
        )


def anova_of(
    grid: Grid,
    n: np.ndarray[tuple[int], np.dtype[np.int64]],
    means: Floats,
    variances: Sequence[float],
    squared_spread: Sequence[float],
    groups: tuple[Hashable, ...],
) -> Anova:
    """Compute the test from each group's size, mean, Fréchet variance and variance of squared distances."""
    v, s2 = np.array(variances), np.array(squared_spread)
    if not (s2 > 1e-14 * np.maximum(v * v, 1e-300)).all():
        raise DistributionError(
            "the distances to a group's mean are all equal, so the test has no scale; add distributions"
        )
    share = n / n.sum()
    off = means - share @ means
    location = float(share @ grid.inner(off, off))
    weight = share / s2
    gaps = (v[:, None] - v[None, :]) ** 2 * weight[:, None] * weight[None, :]
    spread = float(np.triu(gaps, 1).sum())
    total = float(n.sum())
    statistic = total * spread / float(weight.sum()) + total * location**2 / float((share**2 * s2).sum())
    return Anova(
        statistic=statistic,
        p_value=float(stats.chi2.sf(statistic, len(n) - 1)),
        location=location,
        spread=spread,
        within=tuple(v.tolist()),
        groups=groups,
    )
