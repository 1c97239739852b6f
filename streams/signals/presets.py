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


_STRICTEST: tuple[Statistic, ...] = ("ror025", "prr025", "prr", "eb05", "ic025")


@dataclass(frozen=True, slots=True)
class Preset:
    """Criteria that must all be met; a changed threshold is a new ``version``."""

    name: str
    version: int
    criteria: tuple[Criterion, ...]
    source: str

    @property
    def needs(self) -> frozenset[str]:
        """Return the statistics the criteria read."""
        return frozenset(criterion.statistic for criterion in self.criteria)

    @property
    def leading(self) -> Criterion:
        """Return the criterion of the measure that tells how strong a signal is, a lower limit where there is one."""
        by_name = {criterion.statistic: criterion for criterion in self.criteria}
        return next(by_name[name] for name in _STRICTEST if name in by_name)

    def signals(self, statistics: Mapping[str, Floats]) -> NDArray[np.bool_]:
        """Return which pairs are signals, shape (k,)."""
        return np.asarray(np.logical_and.reduce([criterion.met(statistics) for criterion in self.criteria]))


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "evans-2001",
            1,
            (Criterion("n", 3), Criterion("prr", 2), Criterion("chi2_yates", 4)),
            "Evans, Waller and Davis 2001, Pharmacoepidemiol Drug Saf 10:483-486",
        ),
        Preset(
            "mhra",
            1,
            (Criterion("n", 3), Criterion("ebgm", 2.5), Criterion("eb05", 1.8)),
            "as practised by the MHRA in Candore et al. 2015, Drug Saf 38:577-587",
        ),
        Preset(
            "ema-2015",
            1,
            (Criterion("n", 3), Criterion("prr025", 1)),
            "EMA practice up to 2016, EMEA/106464/2006 rev. 1",
        ),
        Preset(
            "ema-2016",
            1,
            (Criterion("n", 5), Criterion("ror025", 1, strictly=True)),
            "EMA/849944/2016, products not under additional monitoring",
        ),
        Preset(
            "umc",
            1,
            (Criterion("ic025", 0, strictly=True),),
            "Norén, Hopstadius and Bate 2013, SMMR 22:57-69",
        ),
        Preset("fda", 1, (Criterion("eb05", 2),), "Szarfman, Machado and O'Neill 2002, Drug Saf 25:381-392"),
    )
}

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
