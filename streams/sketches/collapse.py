"""Uniform collapse of bins in pairs, which keeps a long-lived sketch within a budget (UDDSketch, Epicoco et al. 2020)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streams.sketches.mapping import Floats, LogMapping

Ints = NDArray[np.int64]


def collapsed_alpha(alpha: float, level: int) -> float:
    """Return the accuracy after a number of collapses, alpha' = 2 alpha / (1 + alpha^2) each."""
    for _ in range(level):
        alpha = 2 * alpha / (1 + alpha * alpha)
    return alpha


@lru_cache(maxsize=64)
def folding(mapping: LogMapping, level: int) -> Ints:
    """Return for each code of the mapping its code after ``level`` collapses; bins keep their order."""
    n, width = mapping.n_side, 1 << level
    side = np.arange(n) // width
    m = sides(mapping, level)
    negative = m - side
    return np.concatenate([[0], negative[::-1], [m + 1], m + 2 + side, [2 * m + 2]])


def sides(mapping: LogMapping, level: int) -> int:
    """Return the number of bins of one sign after ``level`` collapses."""
    return -(-mapping.n_side // (1 << level))


@lru_cache(maxsize=64)
def folded_bounds(mapping: LogMapping, level: int) -> tuple[Floats, Floats]:
    """Return lower and upper bound of every bin after ``level`` collapses, by code."""
    if level == 0:
        return mapping.bounds
    edges = mapping.edges
    kept = edges[:: 1 << level]
    if len(kept) <= sides(mapping, level):
        kept = np.append(kept, edges[-1])
    lower = np.concatenate([[-np.inf], -kept[:0:-1], [-kept[0]], kept])
    upper = np.concatenate([-kept[::-1], [kept[0]], kept[1:], [np.inf]])
    return lower, upper
