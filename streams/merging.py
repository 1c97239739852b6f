"""Adding up closed windows: integers exactly, floating sums in the order that the caller gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.sketches.mapping import Codes, Floats
from streams.windows import Closed

Ints = NDArray[np.int64]
Index = NDArray[np.intp]

Number = TypeVar("Number", np.int64, np.float64)

_CODE_BITS = 16


def merged(a: Closed, b: Closed) -> Closed:
    """Return the union of two windows with their common groups added up, ``a`` before ``b``.

    Counts and sketches are integers, so their order is of no account. Sums are ``a + b`` and squares go about the common mean
    (Chan, Golub and LeVeque 1979), so where bits matter the caller must always add in the same order, but for windows that have
    whole sums. Of two equal first times
    that of ``a`` counts, of two equal last times that of ``b``.
    """
    group = np.union1d(a.group, b.group)
    at_a, at_b = np.searchsorted(group, a.group), np.searchsorted(group, b.group)
    count = _sum(len(group), at_a, a.count, at_b, b.count)
    floats = _moments(group, count, a, at_a, b, at_b)
    floats["sum"] = _sum(len(group), at_a, a.floats["sum"], at_b, b.floats["sum"])
    floats["min"], floats["max"] = np.full(len(group), np.inf), np.full(len(group), -np.inf)
    for side, at in ((a, at_a), (b, at_b)):
        floats["min"][at] = np.minimum(floats["min"][at], side.floats["min"])
        floats["max"][at] = np.maximum(floats["max"][at], side.floats["max"])
    times = _ends(group, floats, a, at_a, b, at_b)
    indptr, codes, counts = _bins(group, (a, b))
    whole = None
    if a.whole is not None and b.whole is not None:
        whole = a.whole.together(b.whole).added(np.concatenate([at_a, at_b]), len(group))
        floats |= whole.floats(count)
    return Closed(min(a.start, b.start), group, count, floats, times, indptr, codes, counts, whole)


def reduced(closed: Closed, group: NDArray[np.int32]) -> Closed:
    """Return the sums over the rows of each of the given groups, of shape (k,), in row order; groups come out ascending.

    Squares are about the mean, with a shift of the group's first mean. Of equal first times the earlier row counts, of equal last
    times the later row; where sums are whole, the smallest and the largest value, so that the order of rows does not show.
    """
    order = np.argsort(group, kind="stable")
    closed = selected(closed, order)
    found, first, at = np.unique(group[order], return_index=True, return_inverse=True)
    mean, squares = centre(closed)
    weight = closed.count
    count = np.zeros(len(found), np.int64)
    np.add.at(count, at, weight)
    delta = mean - mean[first][at]
    drift, about = np.zeros(len(found)), np.zeros(len(found))
    np.add.at(drift, at, weight * delta)
    np.add.at(about, at, squares + weight * delta * delta)
    floats = {
        "sum": np.zeros(len(found)),
        "min": np.full(len(found), np.inf),
        "max": np.full(len(found), -np.inf),
    }
    np.add.at(floats["sum"], at, closed.floats["sum"])
    np.minimum.at(floats["min"], at, closed.floats["min"])
    np.maximum.at(floats["max"], at, closed.floats["max"])
    floats |= {"shift": mean[first] + drift / count, "from_shift": np.zeros(len(found))}
    floats["squares"] = np.maximum(about - drift * drift / count, 0.0)
    first_ties, last_ties = ([closed.floats[n]] if closed.whole else [] for n in ("first", "last"))
    begins = np.lexsort((*first_ties, closed.times["first_time"], at))[first]
    ends = np.lexsort((*last_ties, closed.times["last_time"], at))[np.append(first[1:], len(at)) - 1]
    floats["first"], floats["last"] = closed.floats["first"][begins], closed.floats["last"][ends]
    times = {"first_time": closed.times["first_time"][begins], "last_time": closed.times["last_time"][ends]}
    indptr, codes, counts = _bins(found, (replace(closed, group=found[at]),))
    whole = None if closed.whole is None else closed.whole.added(at, len(found))
    if whole is not None:
        floats |= whole.floats(count)
    return Closed(closed.start, found, count, floats, times, indptr, codes, counts, whole)


def selected(closed: Closed, rows: Index) -> Closed:
    """Return the groups at positions ``rows``, in their order."""
    size = np.diff(closed.indptr)[rows]
    indptr = np.concatenate([[0], np.cumsum(size)])
    take = np.arange(indptr[-1]) + np.repeat(closed.indptr[rows] - indptr[:-1], size)
    return Closed(
        closed.start,
        closed.group[rows],
        closed.count[rows],
        {name: column[rows] for name, column in closed.floats.items()},
        {name: column[rows] for name, column in closed.times.items()},
        indptr,
        closed.codes[take],
        closed.counts[take],
        None if closed.whole is None else closed.whole.selected(rows),
    )


def centre(closed: Closed) -> tuple[Floats, Floats]:
    """Return the mean of each group and the sum of squares about it."""
    drift = closed.floats["from_shift"]
    squares = closed.floats["squares"] - drift * drift / closed.count
    return closed.floats["shift"] + drift / closed.count, np.maximum(squares, 0.0)


def _sum(size: int, at_a: Index, a: NDArray[Number], at_b: Index, b: NDArray[Number]) -> NDArray[Number]:
    total = np.zeros(size, a.dtype)
    total[at_a] = a
    total[at_b] += b
    return total


def _moments(
    group: NDArray[np.int32], count: Ints, a: Closed, at_a: Index, b: Closed, at_b: Index
) -> dict[str, Floats]:
    mean, squares = np.zeros(len(group)), np.zeros(len(group))
    (mean_a, squares_a), (mean_b, squares_b) = centre(a), centre(b)
    mean[at_b], squares[at_b] = mean_b, squares_b
    mean[at_a], squares[at_a] = mean_a, squares_a
    _, in_a, in_b = np.intersect1d(a.group, b.group, assume_unique=True, return_indices=True)
    both, delta = at_a[in_a], mean_b[in_b] - mean_a[in_a]
    share = b.count[in_b] / count[both]
    mean[both] = mean_a[in_a] + delta * share
    squares[both] = squares_a[in_a] + squares_b[in_b] + delta * delta * (a.count[in_a] * share)
    return {"shift": mean, "from_shift": np.zeros(len(group)), "squares": squares}


def _ends(
    group: NDArray[np.int32], floats: dict[str, Floats], a: Closed, at_a: Index, b: Closed, at_b: Index
) -> dict[str, Ints]:
    n = len(group)
    first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
    floats["first"], floats["last"] = np.zeros(n), np.zeros(n)
    for side, at in ((a, at_a), (b, at_b)):
        earlier = side.times["first_time"] < first[at]
        later = side.times["last_time"] >= last[at]
        floats["first"][at[earlier]] = side.floats["first"][earlier]
        floats["last"][at[later]] = side.floats["last"][later]
        first[at] = np.minimum(first[at], side.times["first_time"])
        last[at] = np.maximum(last[at], side.times["last_time"])
    return {"first_time": first, "last_time": last}


def _bins(group: NDArray[np.int32], sides: tuple[Closed, ...]) -> tuple[Ints, Codes, Ints]:
    keys = [
        (np.repeat(side.group.astype(np.int64), np.diff(side.indptr)) << _CODE_BITS) | side.codes
        for side in sides
    ]
    found, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.zeros(len(found), np.int64)
    np.add.at(counts, inverse, np.concatenate([side.counts for side in sides]))
    indptr = np.searchsorted(
        found, np.append(group, group[-1] + 1 if len(group) else 0).astype(np.int64) << _CODE_BITS
    )
    return indptr.astype(np.int64), (found & ((1 << _CODE_BITS) - 1)).astype(np.int32), counts
