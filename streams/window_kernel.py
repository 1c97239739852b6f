"""The compiled loops over rows of a window: places for groups, aggregates in row order."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled

SUM, SHIFT, FROM_SHIFT, SQUARES, MIN, MAX, FIRST, LAST, COUNT, FIRST_TIME, LAST_TIME = range(11)
"""Where a slot has its aggregates, in the order in which ``streams.windows`` names them."""


@compiled
def place(group: Any, value: Any, slots: Any, used: int, new: Any, shift: Any) -> int:
    """Give groups that have no slot the next ones, and return how many there are then.

    ``new`` and ``shift`` get each of these groups and the value of its first row.
    """
    count = 0
    for i in range(len(group)):
        if slots[group[i]] < 0:
            slots[group[i]] = used + count
            new[count], shift[count] = group[i], value[i]
            count += 1
    return used + count


@compiled
def add_rows(
    group: Any, value: Any, time: Any, codes: Any, slots: Any, floats: Any, integers: Any, log: Any
) -> None:
    """Add rows to the aggregates of their groups one by one, so that the bits do not depend on batches.

    ``floats`` and ``integers``, shape (slots, aggregates), are the same memory. First and last are by event time; of equal
    times the earlier record is first and the later one last. ``log`` gets (slot << 16) | code of each row.
    """
    for i in range(len(group)):
        s, v, t = slots[group[i]], value[i], time[i]
        integers[s, COUNT] += 1
        floats[s, SUM] += v
        delta = v - floats[s, SHIFT]
        floats[s, FROM_SHIFT] += delta
        floats[s, SQUARES] += delta * delta
        floats[s, MIN] = min(floats[s, MIN], v)
        floats[s, MAX] = max(floats[s, MAX], v)
        if t < integers[s, FIRST_TIME]:
            integers[s, FIRST_TIME], floats[s, FIRST] = t, v
        if t >= integers[s, LAST_TIME]:
            integers[s, LAST_TIME], floats[s, LAST] = t, v
        log[i] = (np.int64(s) << 16) | codes[i]


EXACT_SUM, EXACT_LOW, EXACT_HIGH = SUM, FROM_SHIFT, SQUARES
"""Where exact windows keep their integers: the sum in steps, and the sum of squares in base 2**``LIMB_BITS``."""
LIMB_BITS = 40
_LIMB = (1 << LIMB_BITS) - 1
_HALF_BITS = LIMB_BITS // 2
_HALF = (1 << _HALF_BITS) - 1


@compiled
def add_exact_rows(
    group: Any,
    value: Any,
    steps: Any,
    time: Any,
    codes: Any,
    slots: Any,
    floats: Any,
    integers: Any,
    log: Any,
) -> None:
    """Add rows to the aggregates of their groups in a way that no order of rows matters.

    ``steps`` are values in whole steps, at most 2**40 either way. Of equal times the smallest value is first and the largest last.
    """
    for i in range(len(group)):
        s, v, q, t = slots[group[i]], value[i], steps[i], time[i]
        integers[s, COUNT] += 1
        integers[s, EXACT_SUM] += q
        size = abs(q)
        upper, lower = size >> _HALF_BITS, size & _HALF
        low = integers[s, EXACT_LOW] + ((2 * upper * lower) << _HALF_BITS) + lower * lower
        integers[s, EXACT_LOW] = low & _LIMB
        integers[s, EXACT_HIGH] += upper * upper + (low >> LIMB_BITS)
        _extend(s, v, v, v, v, t, t, floats, integers)
        log[i] = (np.int64(s) << 16) | codes[i]


@compiled
def add_exact_panes(
    group: Any, whole: Any, low: Any, high: Any, numbers: Any, times: Any, count: Any, slots: Any, floats: Any, integers: Any
) -> None:  # fmt: skip
    """Add panes: sums ``whole``, squares ``low`` and ``high``, ``numbers`` (min, max, first, last), ``times`` (first, last)."""
    for i in range(len(group)):
        s = slots[group[i]]
        integers[s, COUNT] += count[i]
        integers[s, EXACT_SUM] += whole[i]
        total = integers[s, EXACT_LOW] + low[i]
        integers[s, EXACT_LOW] = total & _LIMB
        integers[s, EXACT_HIGH] += high[i] + (total >> LIMB_BITS)
        _extend(
            s, numbers[0, i], numbers[1, i], numbers[2, i], numbers[3, i], times[0, i], times[1, i], floats, integers
        )  # fmt: skip


@compiled
def _extend(
    s: int, least: float, most: float, first: float, last: float, begin: int, end: int, floats: Any, integers: Any
) -> None:  # fmt: skip
    floats[s, MIN] = min(floats[s, MIN], least)
    floats[s, MAX] = max(floats[s, MAX], most)
    if begin < integers[s, FIRST_TIME] or (begin == integers[s, FIRST_TIME] and first < floats[s, FIRST]):
        integers[s, FIRST_TIME], floats[s, FIRST] = begin, first
    if end > integers[s, LAST_TIME] or (end == integers[s, LAST_TIME] and last > floats[s, LAST]):
        integers[s, LAST_TIME], floats[s, LAST] = end, last
