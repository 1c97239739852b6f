"""Integers in as few bytes as they need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Narrow = tuple[int, str, bytes]

_WIDTHS = (("<u1", 8), ("<u2", 16), ("<u4", 32), ("<u8", 64))


def narrowed(values: NDArray[np.int64]) -> Narrow:
    """Return the smallest value, a type, and by how much each is above it, the same bytes for the same values."""
    if not len(values):
        return 0, "<u1", b""
    low = int(values.min())
    span = int(values.max()) - low
    kind = next(kind for kind, bits in _WIDTHS if span < 1 << bits)
    # Beyond 63 bits the difference comes around, and comes around again when it is added.
    return low, kind, (values - low).astype(kind).tobytes()


def widened(packed: Narrow) -> NDArray[np.int64]:
    """Return the values of ``narrowed``."""
    low, kind, data = packed
    return np.frombuffer(data, kind).astype(np.int64) + low
