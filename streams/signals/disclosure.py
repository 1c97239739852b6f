"""Small cells: what may leave of a count, by named presets of statistical disclosure control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.signals.tables import Counts


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Counts up to ``suppress`` but 0 do not leave; the others are rounded to the nearest ``rounding``.

    ``zero_leaves``: a true 0 may be told from a suppressed count only where this says so.
    """

    name: str
    version: int
    suppress: int
    rounding: int
    zero_leaves: bool
    source: str

    def released(self, counts: ArrayLike) -> Counts:
        """Return counts as they may leave, 0 where suppressed. Raises ValueError for what is no count."""
        x = np.asarray(counts)
        if x.size and (not np.equal(np.mod(x, 1), 0).all() or (x < 0).any()):
            raise ValueError("only whole, non-negative counts can be released")
        whole = x.astype(np.int64)
        rounded = (whole + self.rounding // 2) // self.rounding * self.rounding
        return np.where(whole <= self.suppress, 0, rounded)

    def leaves(self, counts: ArrayLike) -> NDArray[np.bool_]:
        """Return which counts may leave at all."""
        x = np.asarray(counts)
        return np.asarray((x > self.suppress) | ((x == 0) & self.zero_leaves))


DISCLOSURES: Mapping[str, Disclosure] = {
    rule.name: rule
    for rule in (
        Disclosure("none", 1, 0, 1, True, "counts that are public already"),
        Disclosure("opensafely", 1, 7, 5, False, "OpenSAFELY: counts up to 7 become 0, others the nearest 5"),
        Disclosure(
            "vantage6", 1, 4, 1, False, "vantage6 cross tables: cells below 5 do not leave, nor do zeros"
        ),
        Disclosure("datashield", 1, 2, 1, True, "DataSHIELD nfilter.tab: cells of 1 and 2 do not leave"),
    )
}
