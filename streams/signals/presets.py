"""Named, versioned threshold presets: which statistics make a pair a signal of disproportionate reporting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.signals.disproportionality import chi_square, prr, ror
from streams.signals.information import information_component
from streams.signals.tables import Floats, Tables

Statistic = Literal["n", "prr", "prr025", "ror025", "chi2_yates", "ic025", "ebgm", "eb05"]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A statistic and the value it must reach, or exceed when ``strictly``."""

    statistic: Statistic
    value: float
    strictly: bool = False

    def met(self, statistics: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """Return which pairs meet it; NaN never does. Raises ValueError where the statistic is not given."""
        if self.statistic not in statistics:
            raise ValueError(f"this preset needs the statistic {self.statistic}")
        given = statistics[self.statistic]
        return np.asarray(given > self.value if self.strictly else given >= self.value)


_COMPUTED: Mapping[str, Callable[[Tables], Floats]] = {
    "n": lambda tables: tables.a,
    "prr": lambda tables: prr(tables).value,
    "prr025": lambda tables: prr(tables).lower,
    "ror025": lambda tables: ror(tables).lower,
    "chi2_yates": chi_square,
    "ic025": lambda tables: information_component(tables.a, tables.expected).lower,
}


def statistics_of(tables: Tables, needs: frozenset[str], **given: ArrayLike) -> dict[str, Floats]:
    """Return the statistics that presets need, computed from the tables, or as given (``ebgm``, ``eb05``)."""
    found = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
    return found | {name: _COMPUTED[name](tables) for name in needs - found.keys() if name in _COMPUTED}
