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
    times the earlier record is first and the later one last. ``log`` gets (group << 16) | code of each row.
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
        log[i] = (np.int64(group[i]) << 16) | codes[i]
