"""The events of a throughput run, the same for every system, and what must come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenario import Record
from benchmarks.texts import closing, named, numerals, records

START = 1_750_000_000_000
WINDOW = 10_000


@dataclass(frozen=True)
class Workload:
    """``events`` readings of ``keys`` sensors, ``per_window`` a sensor and window of 10 s on average, in order of event time.

    The first n events of a workload are those of the workload of n events, whatever its size.
    """

    events: int
    keys: int = 1_000
    per_window: int = 100
    partitions: int = 4
    seed: int = 1

    @cached_property
    def key(self) -> NDArray[np.int64]:
        """The sensor's number, by event."""
        return np.random.default_rng(self.seed).integers(0, self.keys, self.events)

    @cached_property
    def value(self) -> NDArray[np.float64]:
        """The value, by event: what a particle counter reads, with three decimals."""
        rng = np.random.default_rng(self.seed + 1)
        return np.asarray(np.round(rng.lognormal(2.5, 0.6, self.events), 3))

    @cached_property
    def time(self) -> NDArray[np.int64]:
        """The event time, in milliseconds."""
        return START + np.arange(self.events) * WINDOW // (self.per_window * self.keys)

    @property
    def name(self) -> str:
        """What its topic is called."""
        return f"bench.{self.events}.{self.keys}.{self.per_window}"

    @staticmethod
    def sensor(number: int) -> str:
        """Return the name of a sensor."""
        return f"sensor-{number:07d}"

    def records(self) -> Iterator[Record]:
        """Yield (key, JSON) of every event and of the closers, one a partition."""
        sensors = [self.sensor(number) for number in range(self.keys)]
        yield from _records(sensors, self.key, self.value, self.time)
        last = self.time[-1:].repeat(self.partitions) + 3_600_000
        yield from _records(
            closing(self.partitions), np.arange(self.partitions), np.ones(self.partitions), last
        )

    @property
    def records_count(self) -> int:
        """How many records there are in the topic."""
        return self.events + self.partitions


def _records(
    names: Sequence[str], number: NDArray[np.int64], value: NDArray[np.float64], time: NDArray[np.int64]
) -> Iterator[Record]:
    sensor, city = named(names, number), named([f"city-{i:02d}" for i in range(10)], number % 10)
    return records(
        sensor,
        '{"sensor_id":"%s","site":"%s","quantity":"pm25","unit":"ug/m3","value":%s,"time":%s}',
        sensor, city, numerals(value), numerals(time),
    )  # fmt: skip
