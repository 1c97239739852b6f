"""Sums of products of vectors and their successors: the additive statistics of an autoregression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.distributions.errors import GridMismatchError, TooFewDistributionsError
from streams.distributions.moments import (
    _divided,
    checked_rows,
    exact_products,
    fixed_point,
    packed_sums,
    unpacked_sums,
)

Floats = NDArray[np.float64]


class LaggedMoments:
    """Count, sum and lagged sums of products of a series of vectors of ``width`` values, for lags 0 to ``lags``.

    A segment of the series joins the one that directly follows it, so it carries its first and last ``lags`` vectors; segments
    of different series (panels), or with a gap between, only add up. Floats are summed about the first vector seen; with a
    ``resolution`` sums are exact integers, the same bits however the series is cut and the panels are ordered.
    """

    def __init__(self, width: int, lags: int, resolution: float | None = None) -> None:
        self.width, self.lags, self.resolution = width, lags, resolution
        kind = np.float64 if resolution is None else object
        self.count, self.gaps = 0, 0
        self._origin: Floats | None = None
        self._pairs = np.zeros(lags + 1, np.int64)
        self._early: NDArray[Any] = np.zeros((lags + 1, width), kind)
        self._late: NDArray[Any] = np.zeros((lags + 1, width), kind)
        self._products: NDArray[Any] = np.zeros((lags + 1, width, width), kind)
        self.head: Floats = np.empty((0, width))
        self.tail: Floats = np.empty((0, width))

    def update(self, rows: Floats) -> None:
        """Add the vectors that follow, shape (n, width), in the order of time.

        Raises:
            DistributionError: another shape, or a value that is not finite.
        """
        rows = checked_rows(rows, self.width)
        if not len(rows):
            return
        self._bridge(self.tail, rows, within=True)
        self._extend_ends(rows, rows, gaps=0)
        self.count += len(rows)

    def gap(self) -> None:
        """Note that at least one vector is missing here."""
        if self.count:
            self.tail = np.empty((0, self.width))
            self.gaps += 1

    def append(self, following: LaggedMoments) -> None:
        """Add the segment that directly follows this one in time."""
        if following.count:
            self._add(following)
            self._bridge(self.tail, following.head, within=False)
            self._extend_ends(following.head, following.tail, gaps=following.gaps)
            self.count += following.count

    def merge(self, other: LaggedMoments) -> None:
        """Add a segment of another series, or one that does not follow directly."""
        if other.count:
            self._add(other)
            self.count += other.count
            self.gaps += other.gaps + 1
            self.head = self.tail = np.empty((0, self.width))

    @property
    def mean(self) -> Floats:
        """The mean vector, shape (width,)."""
        if not self.count:
            raise TooFewDistributionsError("no distribution seen yet")
        if self.resolution is None:
            return np.asarray(self._origin + self._early[0] / self.count)
        return np.asarray(_divided(self._early[0], self.count) * self.resolution)

    def covariances(self) -> Floats:
        """Return 1/n times the sums over t of (q_t - mean)(q_(t+h) - mean)', shape (lags + 1, width, width)."""
        if not self.count:
            raise TooFewDistributionsError("no distribution seen yet")
        if self.resolution is None:
            mean = self._early[0] / self.count
            pairs = self._pairs[:, None, None] * np.outer(mean, mean)
            cross = self._early[:, :, None] * mean + mean[:, None] * self._late[:, None, :]
            return np.asarray((self._products - cross + pairs) / self.count)
        # Times count squared, all terms are whole numbers, so that only the one division rounds.
        n, total = self.count, self._early[0]
        pairs = np.array([int(k) for k in self._pairs], object)[:, None, None] * np.outer(total, total)
        cross = self._early[:, :, None] * total + total[:, None] * self._late[:, None, :]
        whole = n * n * self._products - n * cross + pairs
        return np.asarray(_divided(whole, n**3) * self.resolution**2)

    def state(self) -> list[Any]:
        """Return what was seen as numbers and bytes."""
        origin = None if self._origin is None else packed_sums(self._origin)
        ends = [packed_sums(self.head), packed_sums(self.tail)]
        sums = [packed_sums(part) for part in (self._early, self._late, self._products)]
        return [self.count, self.gaps, origin, self._pairs.tolist(), ends, sums]

    def restore(self, state: list[Any]) -> None:
        """Take over a state of moments with the same width, lags and resolution."""
        self.count, self.gaps, origin, pairs, (head, tail), (early, late, products) = state
        self._origin = None if origin is None else unpacked_sums(origin, (self.width,), None)
        self._pairs = np.array(pairs, np.int64)
        self.head = unpacked_sums(head, (-1, self.width), None)
        self.tail = unpacked_sums(tail, (-1, self.width), None)
        rows = self.lags + 1
        self._early = unpacked_sums(early, (rows, self.width), self.resolution)
        self._late = unpacked_sums(late, (rows, self.width), self.resolution)
        self._products = unpacked_sums(products, (rows, self.width, self.width), self.resolution)

    def _numbers(self, rows: Floats) -> NDArray[Any]:
        if self.resolution is not None:
            return fixed_point(rows, self.resolution)
        if self._origin is None:
            self._origin = rows[0].copy()
        return np.asarray(rows - self._origin)

    def _bridge(self, before: Floats, rows: Floats, *, within: bool) -> None:
        """Add the pairs that end in ``rows``: all of them, or only those that begin ``before``."""
        k, series = len(before), self._numbers(np.concatenate([before, rows]))
        for h in range(self.lags + 1):
            start, stop = max(k, h), len(series) if within else min(len(series), k + h)
            if stop > start:
                self._add_pairs(h, series[start - h : stop - h], series[start:stop])

    def _add_pairs(self, h: int, early: NDArray[Any], late: NDArray[Any]) -> None:
        self._pairs[h] += len(early)
        if self.resolution is None:
            self._products[h] += early.T @ late
        else:
            self._products[h] += exact_products(early, late)
            early, late = early.astype(object), late.astype(object)
        self._early[h] += early.sum(axis=0)
        self._late[h] += late.sum(axis=0)

    def _add(self, other: LaggedMoments) -> None:
        mine = (self.width, self.lags, self.resolution)
        if mine != (other.width, other.lags, other.resolution):
            raise GridMismatchError("segments of different grids, lags or resolutions cannot be added")
        pairs, early, late, products = other._pairs, other._early, other._late, other._products
        if self.resolution is None:
            if self._origin is None:
                self._origin = other._origin
            step = np.asarray(other._origin) - np.asarray(self._origin)
            products = products + early[:, :, None] * step + step[:, None] * late[:, None, :]
            products = products + pairs[:, None, None] * np.outer(step, step)
            early, late = early + pairs[:, None] * step, late + pairs[:, None] * step
        self._pairs = self._pairs + pairs
        self._early, self._late = self._early + early, self._late + late
        self._products = self._products + products

    def _extend_ends(self, first: Floats, last: Floats, gaps: int) -> None:
        """Carry the ends on; ``first`` and ``last`` hold at least the ends of what was added."""
        if not self.gaps and len(self.head) < self.lags:
            self.head = np.concatenate([self.head, first])[: self.lags]
        kept = last if gaps else np.concatenate([self.tail, last])
        self.tail = kept[max(len(kept) - self.lags, 0) :]
        self.gaps += gaps
