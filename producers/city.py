"""A simulated city: its sites and sensors, what they measure, and how the air behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from schemas.units import UNITS


@dataclass(frozen=True, slots=True)
class Air:
    """How a quantity behaves, in its canonical unit.

    The level is ``base`` with a daily wave of amplitude ``daily`` around ``peak`` (hour, UTC) and a half-daily one of
    ``rush``. ``turbulence`` is the sd of a fluctuation that lasts about half a minute, ``noise`` that of each reading.
    Readings have ``decimals`` decimals and lie in ``[low, high]``. ``upwards`` says that its spikes never go down.
    """

    quantity: str
    base: float
    daily: float
    rush: float
    peak: float
    turbulence: float
    noise: float
    decimals: int
    low: float
    high: float
    upwards: bool

    @property
    def sd(self) -> float:
        """The sd of a reading about the level."""
        return float((self.turbulence**2 + self.noise**2) ** 0.5)

    @property
    def unit(self) -> str:
        """The unit of the readings."""
        return UNITS[self.quantity].unit


# quantity, base, daily, rush, peak, turbulence, noise, decimals, low, high, upwards
AIR: dict[str, Air] = {
    air.quantity: air
    for air in (
        Air("pm25", 16.0, 3.0, 3.0, 8.0, 1.2, 0.5, 1, 0.0, 1_000.0, True),
        Air("no2", 30.0, 4.0, 8.0, 8.0, 2.0, 0.8, 1, 0.0, 1_000.0, True),
        Air("o3", 60.0, 25.0, 0.0, 15.0, 2.5, 1.0, 1, 0.0, 1_000.0, True),
        Air("temperature", 14.0, 6.0, 0.0, 15.0, 0.2, 0.06, 2, -60.0, 70.0, False),
        Air("humidity", 55.0, -12.0, 0.0, 15.0, 0.8, 0.3, 1, 0.5, 99.5, False),
    )
}


@dataclass(frozen=True, kw_only=True)
class CitySpec:
    """What to simulate; with a seed it decides every byte.

    ``start`` is the event time of the first readings in milliseconds since the epoch. Each of ``sensors`` belongs to one
    of ``sites`` and reads all ``quantities`` every ``interval`` seconds, for ``seconds``. ``late``, ``duplicate`` and
    ``malformed`` are shares of the events; ``incidents`` is the share of the places for an incident (one a sensor and
    40 minutes) that have one; ``drifting`` that of the series whose readings drift by one sd an hour.

    Raises ValueError for counts below one, shares outside [0, 1] and quantities that are not in ``AIR``.
    """

    start: int
    seconds: float = 3600.0
    sites: int = 5
    sensors: int = 40
    quantities: tuple[str, ...] = ("pm25", "no2", "temperature", "humidity")
    interval: float = 1.0
    late: float = 0.002
    duplicate: float = 0.002
    malformed: float = 0.0005
    drifting: float = 0.2
    incidents: float = 0.5
    air: dict[str, Air] = field(default_factory=lambda: dict(AIR))

    def __post_init__(self) -> None:
        if not (min(self.sites, self.sensors, len(self.quantities)) >= 1 and self.sites <= self.sensors):
            raise ValueError("a city has at least one site, one quantity, and as many sensors as sites")
        if not (self.seconds > 0 and self.interval > 0):
            raise ValueError("seconds and interval must be positive")
        shares = (self.late, self.duplicate, self.malformed, self.drifting, self.incidents)
        if not (all(0 <= share <= 1 for share in shares) and sum(shares[:3]) <= 1):
            raise ValueError("shares must be between 0 and 1, those of faulty events at most 1 together")
        if unknown := [name for name in self.quantities if name not in self.air]:
            raise ValueError(f"no air is described for {', '.join(unknown)}; there are {', '.join(self.air)}")

    @property
    def series(self) -> int:
        """The number of series, each one quantity of one sensor."""
        return self.sensors * len(self.quantities)

    @property
    def ticks(self) -> int:
        """How often each sensor reads."""
        return max(1, round(self.seconds / self.interval))

    @property
    def readings(self) -> int:
        """The number of readings if nothing went wrong; outages take some away, duplicates add some."""
        return self.series * self.ticks

    @property
    def end(self) -> int:
        """The event time in milliseconds at which the simulation ends."""
        return self.start + round(self.ticks * self.interval * 1000)

    @cached_property
    def airs(self) -> tuple[Air, ...]:
        """The behaviour of the quantities, in their order."""
        return tuple(self.air[name] for name in self.quantities)

    def sensor(self, number: int) -> str:
        """Return the id of a sensor."""
        return f"{self.site(number)}-sensor-{number:04d}"

    def site(self, number: int) -> str:
        """Return the site of a sensor."""
        return f"site-{number % self.sites:02d}"
