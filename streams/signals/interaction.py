"""Drug-drug interaction: the omega shrinkage measure of three-way disproportionality (Norén et al. 2008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.signals.disproportionality import Estimate
from streams.signals.information import information_component
from streams.signals.tables import Floats


def expected_together(
    events: tuple[ArrayLike, ArrayLike, ArrayLike], reports: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]
) -> Floats:
    """Return counts of the event expected with both drugs when neither changes what the other adds to the baseline.

    ``events`` are counts with neither drug, with the first alone and with the second alone; ``reports`` are all reports with
    neither, the first alone, the second alone and both. Stat Med 27:3057-3070, equations 2 to 4.
    """
    n00, n10, n01 = (np.asarray(x, dtype=np.float64) for x in events)
    r00, r10, r01, r11 = (np.asarray(x, dtype=np.float64) for x in reports)
    with np.errstate(divide="ignore", invalid="ignore"):
        base, first, second = (_odds(n / r) for n, r in ((n00, r00), (n10, r10), (n01, r01)))
    # Each drug adds what it adds, but a protective one does not take away from the other.
    odds = np.maximum(base, first) + np.maximum(base, second) - base
    return np.asarray(r11 * (1 - 1 / (odds + 1)))


def omega(observed: ArrayLike, expected: ArrayLike, level: float = 0.95) -> Estimate:
    """Return log2((n111 + 1/2) / (E111 + 1/2)) with the limits of its gamma posterior; above 0 suggests interaction."""
    return information_component(observed, expected, level)


def _odds(share: Floats) -> Floats:
    return np.asarray(share / (1 - share))
