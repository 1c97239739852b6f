"""The compiled loops over sorted bins: counting equal ones, merging two lists."""

from __future__ import annotations

from typing import Any

from schemas.compiled import compiled


@compiled
def merge(keys: Any, counts: Any, more_keys: Any, more_counts: Any, out_keys: Any, out_counts: Any) -> int:
    """Write the union of two ascending lists of bins, common ones added up, and return how many there are."""
    i, j, n = 0, 0, 0
    while i < len(keys) or j < len(more_keys):
        if j == len(more_keys) or (i < len(keys) and keys[i] <= more_keys[j]):
            out_keys[n], out_counts[n] = keys[i], counts[i]
            if j < len(more_keys) and keys[i] == more_keys[j]:
                out_counts[n] += more_counts[j]
                j += 1
            i += 1
        else:
            out_keys[n], out_counts[n] = more_keys[j], more_counts[j]
            j += 1
        n += 1
    return n


@compiled
def count(keys: Any, out_keys: Any, out_counts: Any) -> int:
    """Write the distinct values of an ascending array and how often each comes, and return how many there are."""
    n = -1
    for i in range(len(keys)):
        if i == 0 or keys[i] != keys[i - 1]:
            n += 1
            out_keys[n], out_counts[n] = keys[i], 0
        out_counts[n] += 1
    return n + 1
