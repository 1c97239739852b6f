"""The compiled loops over rows of a window: places for groups, aggregates in row order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def add_rows(
    group: Any, value: Any, time: Any, codes: Any, slots: Any, count: Any, total: Any, shift: Any, from_shift: Any,
    squares: Any, low: Any, high: Any, first: Any, last: Any, first_time: Any, last_time: Any, log: Any,
) -> None:  # fmt: skip
    """Add rows to the aggregates of their groups one by one, so that the bits do not depend on batches.

    First and last are by event time; of equal times the earlier record is first and the later one last. ``log`` gets
    (group << 16) | code of each row.
    """
    for i in range(len(group)):
        s, v, t = slots[group[i]], value[i], time[i]
        count[s] += 1
        total[s] += v
        delta = v - shift[s]
        from_shift[s] += delta
        squares[s] += delta * delta
        low[s] = min(low[s], v)
        high[s] = max(high[s], v)
        if t < first_time[s]:
            first_time[s], first[s] = t, v
        if t >= last_time[s]:
            last_time[s], last[s] = t, v
        log[i] = (np.int64(group[i]) << 16) | codes[i]
