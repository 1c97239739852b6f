"""The compiled merge of two sorted lists of counted bins."""

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
