"""The compiled loop from values to bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled


@compiled
def bins(values: Any, bits: Any, edges: Any, guesses: Any, base: int, shift: int, codes: Any) -> bool:
    """Write the bin of each value and return False if one is NaN; ``bits`` are the values as integers.

    The leading bits of a size look up a bin at or below its own, from where the edges decide.
    """
    n = len(edges) - 1
    most = len(guesses) - 1
    for i in range(len(values)):
        value = values[i]
        size = abs(value)
        if np.isnan(size):
            return False
        cell = ((bits[i] & 0x7FFFFFFFFFFFFFFF) >> shift) - base
        k = guesses[min(max(cell, 0), most)]
        while k < n and size >= edges[k + 1]:
            k += 1
        codes[i] = n + 1 if k < 0 else (n - k if value < 0 else n + 2 + k)
    return True
