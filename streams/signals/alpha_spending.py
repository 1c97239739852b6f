"""Alpha spending: boundaries of Poisson counts at looks whose expected counts become known only as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import special

from streams.signals.tables import Floats

Shape = Literal["power", "pocock", "obrien-fleming"]


def spending(shape: Shape, alpha: float = 0.05, rho: float = 1.0) -> Callable[[float], float]:
    """Return the alpha that may have been spent by a share of the planned expected count, 0 to 1.

    ``power`` is alpha t^rho (Kim and DeMets 1987); the others follow Lan and DeMets 1983.
    """
    z = float(special.ndtri(1 - alpha / 2))

    def of_power(t: float) -> float:
        return float(alpha * t**rho)

    def of_pocock(t: float) -> float:
        return float(alpha * np.log1p((np.e - 1) * t))

    def of_obrien_fleming(t: float) -> float:
        return float(2 * special.ndtr(-z / np.sqrt(t))) if t > 0 else 0.0

    shapes: dict[Shape, Callable[[float], float]] = {
        "power": of_power,
        "pocock": of_pocock,
        "obrien-fleming": of_obrien_fleming,
    }
    chosen = shapes[shape]
    return lambda t: chosen(min(max(t, 0.0), 1.0))


@dataclass(slots=True)
class SpendingMonitor:
    """The exact distribution of a count that has not signalled, from look to look.

    ``horizon`` is the expected count planned for the whole surveillance. Each ``look`` returns the smallest count that signals
    there; it is None where nothing may be spent yet. What a look leaves unspent, because counts are whole, later looks may use.
    """

    horizon: float
    spend: Callable[[float], float]
    minimum: int = 1
    spent: float = 0.0
    expected: float = 0.0
    alive: Floats = field(default_factory=lambda: np.ones(1))

    def look(self, expected: float) -> int | None:
        """Take the cumulative expected count by a look and return the cumulative count that signals at it.

        Raises ValueError for an expected count below that of the look before.
        """
        if expected < self.expected:
            raise ValueError("expected counts cannot fall from look to look")
        mean, self.expected = expected - self.expected, expected
        grown = np.zeros(len(self.alive) + int(mean + 12 * np.sqrt(mean) + 40))
        grown[: len(self.alive)] = self.alive
        k = np.arange(len(grown))
        steps = np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1))
        self.alive = np.convolve(grown, steps)[: len(grown)]
        tail = np.cumsum(self.alive[::-1])[::-1]  # the probability of at least each count
        allowed = self.spend(expected / self.horizon) - self.spent
        signals = np.flatnonzero((tail <= allowed) & (np.arange(len(tail)) >= max(self.minimum, 1)))
        if allowed <= 0 or not len(signals):
            return None
        first = int(signals[0])
        self.spent += float(tail[first])
        self.alive = self.alive[:first]
        return first
