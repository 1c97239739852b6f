"""Incidents injected into a simulated city, and the truth file that tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from producers.city import CitySpec

Kind = Literal["spike", "plume", "stuck", "outage"]

QUIET_SECONDS = 360.0
"""No incident before: rules on a series' own history are warming up."""
LONGEST_SECONDS = 300.0
_PLACE_SECONDS = 2400.0
_TAIL_SECONDS = 20.0


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went wrong with one quantity of one sensor in ``[start, end)``, milliseconds.

    ``rule`` names the rule that should notice. ``size`` is how far a spike or plume departs, in the canonical unit.
    """

    id: str
    kind: Kind
    sensor_id: str
    site: str
    quantity: str
    start: int
    end: int
    rule: str
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class _Form:
    """How a kind of incident looks: its seconds and its size in sd, each from, to; ``whole`` sensors or single series."""

    kind: Kind
    rule: str
    seconds: tuple[float, float]
    size: tuple[float, float] = (0.0, 0.0)
    whole: bool = False


_FORMS = (
    _Form("spike", "unusual", (10.0, 20.0), (10.0, 40.0)),
    _Form("stuck", "stuck", (90.0, 240.0)),
    _Form("plume", "unusual", (60.0, 120.0), (10.0, 40.0)),
    _Form("outage", "silent", (150.0, LONGEST_SECONDS), whole=True),
)


def draw_incidents(spec: CitySpec, seed: int) -> list[Incident]:
    """Return the incidents of a simulation in order of their start, a pure function of its arguments.

    A sensor has at most one in 40 minutes, so that each finds it recovered; kinds are equally frequent. An outage takes
    all quantities of a sensor and is one incident for each. A simulation too short for any has none.
    """
    rng = np.random.default_rng((seed, 1))
    places = list(_places(spec, rng))
    chosen = rng.permutation(len(places))[: round(spec.incidents * len(places))]
    found: list[Incident] = []
    for number, place in enumerate(chosen.tolist()):
        sensor, begin = places[place]
        found += _incidents(spec, rng, number, sensor, begin)
    return sorted(found, key=lambda incident: (incident.start, incident.id))


def shortest_seconds() -> float:
    """Return how long a simulation must be to hold an incident."""
    return QUIET_SECONDS + LONGEST_SECONDS + _TAIL_SECONDS


def write_truth(path: Path, incidents: Iterable[Incident]) -> None:
    """Write incidents as NDJSON, replacing the file."""
    path.write_bytes(b"".join(msgspec.json.encode(incident) + b"\n" for incident in incidents))


def read_truth(path: Path) -> list[Incident]:
    """Read what ``write_truth`` wrote. Raises OSError or msgspec.DecodeError where it cannot."""
    return [msgspec.json.decode(line, type=Incident) for line in path.read_bytes().splitlines()]


def _places(spec: CitySpec, rng: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Yield where incidents may begin: sensor and seconds, a sensor's evenly spaced from a random first."""
    last = spec.seconds - LONGEST_SECONDS - _TAIL_SECONDS
    if last < QUIET_SECONDS:
        return
    firsts = rng.uniform(QUIET_SECONDS, min(last, QUIET_SECONDS + _PLACE_SECONDS), spec.sensors)
    for sensor, first in enumerate(firsts.tolist()):
        for begin in np.arange(first, last, _PLACE_SECONDS).tolist():
            yield sensor, begin


def _incidents(
    spec: CitySpec, rng: np.random.Generator, number: int, sensor: int, begin: float
) -> Iterator[Incident]:
    form = _FORMS[number % len(_FORMS)]
    # Rules count readings, so where these are rare an incident must last for enough of them.
    seconds = min(max(rng.uniform(*form.seconds), 3 * spec.interval), LONGEST_SECONDS)
    if form.kind == "stuck":
        seconds = min(max(seconds, 13 * spec.interval), LONGEST_SECONDS)
    one, size, up = int(rng.integers(len(spec.quantities))), rng.uniform(*form.size), rng.random() < 0.5
    start = spec.start + round(begin * 1000)
    for air in spec.airs if form.whole else (spec.airs[one],):
        sign = 1.0 if air.upwards or up else -1.0
        yield Incident(
            id=f"{number:04d}-{form.kind}-{air.quantity}",
            kind=form.kind,
            sensor_id=spec.sensor(sensor),
            site=spec.site(sensor),
            quantity=air.quantity,
            start=start,
            end=start + round(seconds * 1000),
            rule=form.rule,
            size=round(sign * size * air.sd, air.decimals),
        )
