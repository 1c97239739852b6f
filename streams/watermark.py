"""The watermark: bounded out-of-orderness, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BEGINNING = -(1 << 62)
# The watermark of a partition that never had an event but is known to be idle.
SILENT = BEGINNING + 1


def watermarks(before: int, time: NDArray[np.int64], out_of_orderness: int) -> NDArray[np.int64]:
    """Return the watermark after each row, given the one before the first; all in milliseconds."""
    return np.asarray(np.maximum(np.maximum.accumulate(time) - out_of_orderness, before), np.int64)
