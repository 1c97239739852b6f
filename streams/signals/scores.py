"""All measures of many pairs at once, as the streaming pipelines publish them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.signals.disproportionality import chi_square, prr, ror
from streams.signals.information import information_component
from streams.signals.mgps import Prior, posterior
from streams.signals.tables import Floats, Tables


@dataclass(frozen=True, slots=True)
class Scores:
    """Measures of k pairs by name, arrays of shape (k,), NaN where not defined."""

    values: dict[str, Floats]

    @classmethod
    def of(cls, tables: Tables, expected: Floats, prior: Prior | None = None) -> Scores:
        """Return the measures of tables; IC and EBGM are against ``expected``, EBGM only where a prior is given."""
        rates, odds = prr(tables), ror(tables)
        ic = information_component(tables.a, expected)
        values = {
            "n": tables.a,
            "prr": rates.value,
            "prr025": rates.lower,
            "ror": odds.value,
            "ror025": odds.lower,
            "chi2_yates": chi_square(tables),
            "ic": ic.value,
            "ic025": ic.lower,
        }
        missing = np.full(len(tables), np.nan)
        values["ebgm"], values["eb05"] = missing, missing.copy()
        scored = expected > 0
        if prior is not None and scored.any():
            found = posterior(prior, tables.a[scored], expected[scored])
            values["ebgm"] = missing.copy()
            values["ebgm"][scored], values["eb05"][scored] = found.ebgm(), found.quantile(0.05)
        return cls(values)
