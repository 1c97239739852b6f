"""The compiled hash table that numbers pairs of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@compiled
def _home(pair: int, slots: Any) -> Any:
    h = np.uint64(pair) * _SPREAD
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(len(slots) - 1))


@compiled
def number(left: Any, right: Any, slots: Any, pairs: Any, used: int, out: Any) -> int:
    """Write the number of each (left, right) to ``out``, new pairs getting the next, and return how many there are then.

    Both lie in [0, 2**31). There must be room in ``pairs`` and, twice over, in ``slots`` (-1 where free).
    """
    mask = len(slots) - 1
    for i in range(len(left)):
        pair = (np.int64(left[i]) << 32) | np.int64(right[i])
        at = _home(pair, slots)
        while slots[at] >= 0 and pairs[slots[at]] != pair:
            at = (at + 1) & mask
        if slots[at] < 0:
            slots[at] = used
            pairs[used] = pair
            used += 1
        out[i] = slots[at]
    return used


@compiled
def refill(slots: Any, pairs: Any, used: int) -> None:
    """Fill an empty table with the pairs there are."""
    mask = len(slots) - 1
    for number_ in range(used):
        at = _home(pairs[number_], slots)
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = number_
