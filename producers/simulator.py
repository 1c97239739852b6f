"""A city's air sensors, simulated: daily waves, drift, faults and injected incidents with known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from producers.city import CitySpec
from producers.errors import EventRejectedError
from producers.incidents import Incident, draw_incidents
from producers.pacing import Pacer
from producers.transmission import DUPLICATE, LATE, MALFORMED, Arrivals, Encoder, Rows, transmit

__all__ = ["Arrivals", "CitySpec", "Sent", "draw_incidents", "send_arrivals", "simulate"]

Floats = NDArray[np.float64]

_CHUNK_READINGS = 65_536
_TURBULENCE_SECONDS = 30.0
_RAMP_MS = 15_000.0


def simulate(spec: CitySpec, seed: int) -> Iterator[Arrivals]:
    """Yield a city's events in order of arrival, batch by batch; the same bytes for the same spec and seed.

    Each batch gives (arrival in ms, key, value) when iterated. The truth about them is ``draw_incidents(spec, seed)``. Memory is
    bounded by about 65,000 readings and those that arrive late.
    """
    city = _City(spec, seed)
    encoder = Encoder(spec)
    waiting: Rows | None = None
    ticks = max(1, _CHUNK_READINGS // spec.series)
    for first in range(0, spec.ticks, ticks):
        count = min(ticks, spec.ticks - first)
        rows = city.read(first, count)
        rows = rows if waiting is None else waiting + rows
        # No later reading can arrive before the time at which the next chunk begins.
        now = city.time_of(first + count)
        here = rows.arrival < now if first + count < spec.ticks else np.ones(len(rows.arrival), bool)
        waiting = rows.take(~here)
        due = rows.take(here)
        yield encoder.encode(due.take(np.argsort(due.arrival, kind="stable")))


@dataclass(slots=True)
class Sent:
    """What was sent, in events; those with faults are among them."""

    events: int = 0
    late: int = 0
    duplicates: int = 0
    malformed: int = 0
    refused: int = 0

    def add(self, faults: NDArray[np.int8]) -> None:
        """Count the faults of events handled."""
        self.late += int((faults == LATE).sum())
        self.duplicates += int((faults == DUPLICATE).sum())
        self.malformed += int((faults == MALFORMED).sum())


def send_arrivals(
    batches: Iterable[Arrivals],
    send: Callable[[bytes, bytes], None],
    pacer: Pacer,
    sent: Sent,
    on_sent: Callable[[int], None] | None = None,
) -> Sent:
    """Hand every event to ``send`` when it is due and count it in ``sent``; delivery is that of ``send``.

    ``on_sent`` is called after each event with the number sent, one. Events that ``send`` refuses are counted.
    ``sent`` is right even when an interrupt ends the play.
    """
    for batch in batches:
        before = sent.events + sent.refused
        try:
            for arrival, key, value in batch:
                pacer.wait_for(arrival)
                try:
                    send(key, value)
                except EventRejectedError:
                    sent.refused += 1
                else:
                    sent.events += 1
                    if on_sent is not None:
                        on_sent(1)
        finally:
            sent.add(batch.faults[: sent.events + sent.refused - before])
    return sent


@dataclass(slots=True)
class _Active:
    """An incident and the series it befalls; ``held`` is the value at which it is stuck."""

    incident: Incident
    series: int
    held: float | None = field(default=None)


class _City:
    """The state of the air between chunks: everything that a chunk needs from the one before."""

    def __init__(self, spec: CitySpec, seed: int) -> None:
        self._spec = spec
        self._rng = rng = np.random.default_rng((seed, 2))
        quantities = len(spec.airs)
        self._turbulence_sd = np.tile([air.turbulence for air in spec.airs], spec.sensors)
        self._noise_sd = np.tile([air.noise for air in spec.airs], spec.sensors)
        sd = np.tile([air.sd for air in spec.airs], spec.sensors)
        # Sites differ by a few sd and sensors by one: calibration is never perfect.
        of_site = rng.normal(0.0, 2.0, (spec.sites, quantities))
        numbers = np.arange(spec.sensors) % spec.sites
        self._bias = (of_site[numbers] + rng.normal(0.0, 1.0, (spec.sensors, quantities))).ravel() * sd
        signs = rng.choice([-1.0, 1.0], spec.series)
        self._drift_per_ms = sd * signs * (rng.random(spec.series) < spec.drifting) / 3_600_000.0
        self._phase = np.repeat(rng.uniform(0.0, spec.interval * 1000, spec.sensors), quantities)
        self._fluctuation = rng.standard_normal((1, spec.series))
        self._active = [_Active(i, self._series_of(i)) for i in draw_incidents(spec, seed)]

    def time_of(self, tick: int) -> int:
        """Return when a tick begins, before any sensor's phase."""
        return self._spec.start + int(tick * self._spec.interval * 1000)

    def read(self, first: int, count: int) -> Rows:
        """Return the readings of ``count`` ticks as they will arrive, in order of tick and series."""
        spec = self._spec
        elapsed: Floats = np.arange(first, first + count, dtype=np.float64)[:, None] * (spec.interval * 1000)
        time = spec.start + (elapsed + self._phase).astype(np.int64)
        values = self._levels(elapsed) + self._bias + self._drift_per_ms * elapsed
        values += self._turbulence_sd * self._fluctuate(count)
        values += self._noise_sd * self._rng.standard_normal((count, spec.series))
        present = self._befall(time, values)
        series = np.broadcast_to(np.arange(spec.series), values.shape)
        return transmit(spec, self._rng, series[present], time[present], values[present])

    def _levels(self, elapsed: Floats) -> Floats:
        hours = (self._spec.start + elapsed) / 3_600_000.0
        turn = 2 * np.pi / 24.0
        levels = [
            air.base
            + air.daily * np.cos(turn * (hours - air.peak))
            + air.rush * np.cos(2 * turn * (hours - air.peak))
            for air in self._spec.airs
        ]
        return np.tile(np.concatenate(levels, axis=1), self._spec.sensors)

    def _fluctuate(self, count: int) -> Floats:
        """Continue an Ornstein-Uhlenbeck process of unit variance for each series."""
        phi = np.exp(-self._spec.interval / _TURBULENCE_SECONDS)
        shocks = np.sqrt(1 - phi**2) * self._rng.standard_normal((count, self._spec.series))
        path: Floats
        path, _ = lfilter([1.0], [1.0, -phi], shocks, axis=0, zi=phi * self._fluctuation)
        self._fluctuation = path[-1:]
        return path

    def _befall(self, time: NDArray[np.int64], values: Floats) -> NDArray[np.bool_]:
        """Change values where incidents are, round them as sensors do, and return which are sent at all."""
        present = np.ones(values.shape, bool)
        here = [
            a for a in self._active if a.incident.start <= time[-1].max() and a.incident.end > time[0].min()
        ]
        for active in here:
            if active.incident.size:
                values[:, active.series] += _excess(active.incident, time[:, active.series])
        self._round(values)
        for active in here:
            within = _within(active.incident, time[:, active.series])
            if active.incident.kind == "outage":
                present[within, active.series] = False
            elif active.incident.kind == "stuck" and within.any():
                held = active.held
                active.held = float(values[within, active.series][0]) if held is None else held
                values[within, active.series] = active.held
        return present

    def _round(self, values: Floats) -> None:
        quantities = len(self._spec.airs)
        for number, air in enumerate(self._spec.airs):
            of_it = values[:, number::quantities]
            of_it[:] = np.round(np.clip(of_it, air.low, air.high), air.decimals)

    def _series_of(self, incident: Incident) -> int:
        sensor = int(incident.sensor_id.rpartition("-")[2])
        return sensor * len(self._spec.airs) + self._spec.quantities.index(incident.quantity)


def _within(incident: Incident, time: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (time >= incident.start) & (time < incident.end)


def _excess(incident: Incident, time: NDArray[np.int64]) -> Floats:
    """Return what an incident adds at the given times: a spike at once, a plume with a rise and a fall."""
    if incident.kind == "spike":
        return np.where(_within(incident, time), incident.size, 0.0)
    edge = np.minimum(time - incident.start, incident.end - time) / _RAMP_MS
    return incident.size * np.clip(edge, 0.0, 1.0)
