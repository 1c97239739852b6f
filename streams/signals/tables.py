"""Two-by-two tables of many drug-event pairs at once, and counting them from reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tables:
    """Counts of reports by drug and event for each pair, arrays of shape (k,) of float64.

    ``a`` has both, ``b`` the drug without the event, ``c`` the event without the drug, ``d`` neither.
    Counts up to 2**53 are exact.
    """

    a: Floats
    b: Floats
    c: Floats
    d: Floats

    @classmethod
    def of_cells(cls, a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> Tables:
        """Return tables of the given cells. Raises ValueError for a negative or missing count."""
        cells = [np.atleast_1d(np.asarray(cell, dtype=np.float64)) for cell in (a, b, c, d)]
        if not all(bool((cell >= 0).all()) for cell in cells):
            raise ValueError("the cells of a two-by-two table must be counts")
        return cls(*np.broadcast_arrays(*cells))

    @classmethod
    def of_margins(cls, a: ArrayLike, drug: ArrayLike, event: ArrayLike, total: ArrayLike) -> Tables:
        """Return tables of joint counts, drug totals, event totals and the grand total.

        Raises ValueError where the margins cannot hold the joint count.
        """
        both, drugs, events, n = (np.asarray(x, dtype=np.float64) for x in (a, drug, event, total))
        return cls.of_cells(both, drugs - both, events - both, n - drugs - events + both)

    def __len__(self) -> int:
        return len(self.a)

    @property
    def n(self) -> Floats:
        """Return the grand totals."""
        return self.a + self.b + self.c + self.d

    @property
    def expected(self) -> Floats:
        """Return the joint counts expected under independence, 0 for an empty table."""
        n = self.n
        return np.divide((self.a + self.b) * (self.a + self.c), n, out=np.zeros_like(n), where=n > 0)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Pairs that occur, in (drug, event) order, with the counts that make their tables.

    ``total`` is the number of distinct reports, or of pairs when the unit of counting is the pair.
    """

    drug: NDArray[np.int64]
    event: NDArray[np.int64]
    a: Counts
    drug_total: Counts
    event_total: Counts
    total: int

    def tables(self) -> Tables:
        """Return the two-by-two tables of the pairs."""
        return Tables.of_margins(self.a, self.drug_total, self.event_total, self.total)

    @property
    def expected(self) -> Floats:
        """Return the joint counts expected under independence."""
        return self.drug_total * self.event_total.astype(np.float64) / max(self.total, 1)


def count_reports(report: ArrayLike, drug: ArrayLike, event: ArrayLike) -> PairCounts:
    """Count distinct reports by drug, event and pair from rows of integer codes, shape (n,).

    A row that repeats another counts once. Raises ValueError for codes that are negative or columns of
    unequal length.
    """
    rows = np.stack([np.asarray(column, dtype=np.int64) for column in (report, drug, event)])
    if rows.size and rows.min() < 0:
        raise ValueError("codes of reports, drugs and events must not be negative")
    reports, drugs, events = rows
    pair, a = _distinct(_joined(drugs, events), reports)
    width = int(events.max(initial=0)) + 1
    pair_drug, pair_event = pair // width, pair % width
    drug_total, event_total = _totals(drugs, reports), _totals(events, reports)
    total = len(np.unique(reports))
    return PairCounts(pair_drug, pair_event, a, drug_total[pair_drug], event_total[pair_event], total)


def count_pairs(drug: ArrayLike, event: ArrayLike, count: ArrayLike) -> PairCounts:
    """Count with the pair as the unit: margins are sums of joint counts, each pair given once (as in PhViD)."""
    drugs, events, a = (np.asarray(x, dtype=np.int64) for x in (drug, event, count))
    order = np.lexsort((events, drugs))
    drugs, events, a = drugs[order], events[order], a[order]
    by_drug = np.bincount(drugs, weights=a).astype(np.int64)
    by_event = np.bincount(events, weights=a).astype(np.int64)
    return PairCounts(drugs, events, a, by_drug[drugs], by_event[events], int(a.sum()))


def _joined(first: Counts, second: Counts) -> Counts:
    width = int(second.max(initial=0)) + 1
    if (int(first.max(initial=0)) + 1) * width > np.iinfo(np.int64).max:
        raise ValueError("codes are too large to be counted; number them densely")
    return first * width + second


def _distinct(key: Counts, reports: Counts) -> tuple[Counts, Counts]:
    """Return the distinct keys in order and in how many distinct reports each occurs."""
    order = np.lexsort((reports, key))
    key, reports = key[order], reports[order]
    fresh = np.ones(len(key), dtype=np.bool_)
    fresh[1:] = (key[1:] != key[:-1]) | (reports[1:] != reports[:-1])
    found, counts = np.unique(key[fresh], return_counts=True)
    return found, counts.astype(np.int64)


def _totals(code: Counts, reports: Counts) -> Counts:
    """Return in how many distinct reports each code occurs, indexed by code."""
    found, counts = _distinct(code, reports)
    totals = np.zeros(int(code.max(initial=0)) + 1, dtype=np.int64)
    totals[found] = counts
    return totals


def by_distinct(function: Callable[[Floats], Floats], values: Floats) -> Floats:
    """Return ``function(values)``, evaluated once for each distinct value: counts of many pairs are few, and functions dear."""
    if not len(values):
        return function(values)
    top, bottom = float(values.max()), float(values.min())
    steps = values - bottom
    if top - bottom < 4 * len(values) and (steps == np.floor(steps)).all():
        whole = steps.astype(np.int64)
        present = np.bincount(whole) > 0
        found = np.empty(len(present))
        found[present] = function(np.asarray(np.flatnonzero(present) + bottom, dtype=np.float64))
        return found[whole]
    distinct, which = np.unique(values, return_inverse=True)
    return function(distinct)[which]
