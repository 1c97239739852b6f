"""The compiled walks along quantile functions in linear pieces: what their p-th power differences come to."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled


@compiled
def mean_power(a: float, b: float, order: float) -> float:
    """Return the mean of |d|^order along a line on which d runs from a to b."""
    if order == 2.0:
        return (a * a + a * b + b * b) / 3
    if order == 1.0:
        if a * b < 0:
            return (a * a + b * b) / (2 * (abs(a) + abs(b)))
        return (abs(a) + abs(b)) / 2
    if abs(b - a) <= 1e-7 * max(abs(a), abs(b)):
        return float(abs((a + b) / 2) ** order)
    rise = np.sign(b) * abs(b) ** (order + 1) - np.sign(a) * abs(a) ** (order + 1)
    return float(rise / ((order + 1) * (b - a)))


@compiled
def error(breaks: Any, start: Any, end: Any, low: Any, high: Any, order: float) -> Any:
    """Return the integral of the larger of |estimate - low|^order and |high - estimate|^order, piece by piece."""
    total = 0.0
    for i in range(len(start)):
        below = mean_power(start[i] - low[i], end[i] - low[i], order)
        above = mean_power(high[i] - start[i], high[i] - end[i], order)
        total += max(below, above) * (breaks[i + 1] - breaks[i])
    return total


@compiled
def distance(
    f_breaks: Any,
    f_start: Any,
    f_end: Any,
    g_breaks: Any,
    g_start: Any,
    g_end: Any,
    near: float,
    order: float,
) -> Any:
    """Return the integral of |f - g|^order over the levels, and the largest |f - g| that there may be anywhere.

    Both are merged break by break. Breaks within ``near`` of one another may be in another order than rounding has put them
    in: between such, the largest is that of one function before them all and the other behind.
    """
    i = j = 0
    at = total = 0.0
    f_now, g_now = f_start[0], g_start[0]
    f_before, g_before = f_now, g_now
    largest = abs(f_now - g_now)
    while i < len(f_start) and j < len(g_start):
        to = min(f_breaks[i + 1], g_breaks[j + 1])
        width = to - at
        f_next = _value(f_breaks, f_start, f_end, i, to)
        g_next = _value(g_breaks, g_start, g_end, j, to)
        total += mean_power(f_now - g_now, f_next - g_next, order) * width
        if width > near:
            f_before, g_before = f_next, g_next
        f_now, g_now = f_next, g_next
        at = to
        if f_breaks[i + 1] == to:
            i += 1
            if i < len(f_start):
                f_now = f_start[i]
        if g_breaks[j + 1] == to:
            j += 1
            if j < len(g_start):
                g_now = g_start[j]
        largest = max(largest, abs(f_now - g_before), abs(f_before - g_now))
    # Pieces of either at level 1, without any width, may be left.
    return total, max(largest, abs(f_end[-1] - g_before), abs(f_before - g_end[-1]))


@compiled
def _value(breaks: Any, start: Any, end: Any, i: int, level: float) -> Any:
    """Return the estimate at a level on piece i, at its end exactly the end."""
    if level >= breaks[i + 1]:
        return end[i]
    share = (level - breaks[i]) / (breaks[i + 1] - breaks[i])
    return start[i] + (end[i] - start[i]) * share
