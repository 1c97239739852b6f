"""The compiled loops over bins: counting equal ones, adding sorted ones to those counted before, taking those of some slots.

Counts are little-endian integers of ``width`` bytes each in an array of bytes, so that loops are compiled once for all widths.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled


@compiled
def _read(counts: Any, width: int, at: int) -> Any:
    value = np.int64(0)
    for i in range(width):
        value |= np.int64(counts[at * width + i]) << (8 * i)
    return value


@compiled
def merge(
    ends: Any, codes: Any, counts: Any, width: int, keys: Any, times: Any,
    out_ends: Any, out_codes: Any, out_counts: Any, out_width: int,
) -> tuple[int, Any]:  # fmt: skip
    """Write the union of counted bins and ascending keys; return how many bins there are, and the largest count.

    Each key counts ``times``, or once where that is empty. ``out_ends`` has a place for every slot.
    """
    n, j = 0, 0
    most: Any = np.int64(0)
    begin: Any = np.int64(0)
    for slot in range(len(out_ends)):
        end = ends[slot] if slot < len(ends) else begin
        last = j
        while last < len(keys) and keys[last] >> 16 == slot:
            last += 1
        i = begin
        while i < end or j < last:
            count: Any = np.int64(0)
            if j == last or (i < end and np.int64(codes[i]) <= keys[j] & 0xFFFF):
                code = np.int64(codes[i])
                count = _read(counts, width, i)
                i += 1
            else:
                code = keys[j] & 0xFFFF
            while j < last and keys[j] & 0xFFFF == code:
                count += times[j] if len(times) else 1
                j += 1
            out_codes[n] = code
            for k in range(out_width):
                out_counts[n * out_width + k] = (count >> (8 * k)) & 0xFF
            most = max(most, count)
            n += 1
        out_ends[slot] = n
        begin = end
    return n, most


@compiled
def largest(keys: Any, times: Any) -> Any:
    """Return the largest total of equal keys, which are ascending."""
    most, total = np.int64(0), np.int64(0)
    for i in range(len(keys)):
        if i > 0 and keys[i] != keys[i - 1]:
            total = np.int64(0)
        total += times[i] if len(times) else 1
        most = max(most, total)
    return most


@compiled
def count(keys: Any, times: Any, out_keys: Any, out_counts: Any) -> int:
    """Write the distinct values of ascending keys and the total of each, and return how many there are."""
    n = -1
    for i in range(len(keys)):
        if i == 0 or keys[i] != keys[i - 1]:
            n += 1
            out_keys[n], out_counts[n] = keys[i], 0
        out_counts[n] += times[i] if len(times) else 1
    return n + 1


@compiled
def sizes(slots: Any, ends: Any, indptr: Any) -> Any:
    """Write where the bins of each slot begin if taken one after the other, and return how many there are."""
    total = np.int64(0)
    indptr[0] = 0
    for i in range(len(slots)):
        slot = slots[i]
        total += ends[slot] - (ends[slot - 1] if slot else 0)
        indptr[i + 1] = total
    return total


@compiled
def take(slots: Any, ends: Any, codes: Any, counts: Any, width: int, out_codes: Any, out_counts: Any) -> None:
    """Write the bins of slots one after the other."""
    n = 0
    for i in range(len(slots)):
        slot = slots[i]
        for at in range(ends[slot - 1] if slot else 0, ends[slot]):
            out_codes[n], out_counts[n] = codes[at], _read(counts, width, at)
            n += 1
