"""What the demo plays: a year of real weather and an hour of a simulated city, in the seconds that it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from producers.incidents import Incident, draw_incidents
from producers.simulator import CitySpec
from streams.pipeline import Pipeline
from streams.pipelines.air_quality import AIR_QUALITY
from streams.pipelines.weather import WEATHER

# The city runs sixty times faster than the clock, so what a quiet second of the clock means is not known to it.
CITY = replace(AIR_QUALITY, idle_timeout_ms=None)
PIPELINES: tuple[Pipeline, ...] = (CITY, WEATHER)
APP = "demo"

START = 1_750_053_600_000
"""16 June 2025, 06:00 UTC: the morning's rush. Fixed, so that each run of a seed has the same truth."""

_CITY_SECONDS = 3_600.0
_SITES = 5


@dataclass(frozen=True)
class Scenario:
    """Length in seconds of the clock, seed, and whether a worker is killed on the way.

    A shorter play has fewer sensors that read less often, and fewer days of weather, so that about 13,000 events a second
    arrive whatever its length; from a minute on there are 40 sensors and a year.
    """

    seconds: float = 60.0
    seed: int = 1
    kill: bool = True

    @cached_property
    def city(self) -> CitySpec:
        """The simulated city: an hour of event time."""
        sensors = 40 if self.seconds >= 30 else 20
        interval = min(5.0, max(1.0, sensors * 1.5 / self.seconds))
        return CitySpec(
            start=START,
            seconds=_CITY_SECONDS,
            sites=_SITES,
            sensors=sensors,
            interval=interval,
            incidents=0.6,
        )

    @cached_property
    def truth(self) -> list[Incident]:
        """What was injected into the city."""
        return draw_incidents(self.city, self.seed)

    @property
    def city_speed(self) -> float:
        """Event time of the city per time of the clock."""
        return self.city.seconds / self.seconds

    @property
    def weather_days(self) -> int:
        """How many days of weather are played, from 1 January 2013."""
        return min(364, max(1, round(self.seconds * 364 / 60)))
