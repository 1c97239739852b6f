"""Two cases of Theodolite (Henning and Hasselbring 2021) on power readings: UC2, downsampling, and UC3, averages by hour of day.

UC2 counts and adds up each sensor's minute. UC3 does so by sensor and hour of day, over a week, every day. Values are eighths,
so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import flink
from benchmarks.counts import Row, Rows
from benchmarks.scenario import Record
from benchmarks.system import Run
from benchmarks.texts import CLOSER, closing, named, numerals, records
from schemas.event_types import EventType
from schemas.events import EventTime
from streams.attributes import HOUR_MS, HourOfDay
from streams.pipeline import Hopping, Pipeline, Tumbling

START, DAY_MS = 1_749_945_600_000, 24 * HOUR_MS
ENDINGS = (".alert",)


class Power(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a meter reads."""

    identifier: str
    power: float = msgspec.field(name="valueInW")
    timestamp: EventTime


POWER = EventType("power", Power, "identifier", "timestamp", numbers=("power",), labels=("identifier",))


@dataclass(frozen=True)
class Case:
    """One case: how many sensors, milliseconds between readings of one, size and hop of its windows, whether by hour."""

    sensors: int
    every_ms: int
    size_ms: int
    hop_ms: int
    hourly: bool = False


CASES = {
    "uc2": Case(1_000, 1_000, 60_000, 60_000),
    "uc3": Case(100, 5 * 60_000, 7 * DAY_MS, DAY_MS, hourly=True),
}


@dataclass(frozen=True)
class Theodolite:
    """Implements ``benchmarks.scenario.Scenario``: so many readings for a case, the sensors in turn."""

    case: str
    events: int
    partitions: int = 4
    seed: int = 1

    @property
    def name(self) -> str:
        """What its topic is called."""
        return f"theodolite.{self.case}.{self.events}"

    @property
    def records_count(self) -> int:
        """How many records there are."""
        return self.events + self.partitions

    @property
    def _shape(self) -> Case:
        return CASES[self.case]

    @cached_property
    def _sensor(self) -> NDArray[np.int64]:
        return np.arange(self.events) % self._shape.sensors

    @cached_property
    def _time(self) -> NDArray[np.int64]:
        return START + np.arange(self.events) * self._shape.every_ms // self._shape.sensors

    @cached_property
    def _value(self) -> NDArray[np.float64]:
        return np.asarray(np.random.default_rng(self.seed).integers(0, 8_000, self.events) / 8)

    def topics(self) -> Mapping[str, Iterable[Record]]:
        """Return the records of the topic."""
        return {"": self._records()}

    def _records(self) -> Iterator[Record]:
        sensors = [_name(number) for number in range(self._shape.sensors)]
        yield from _records(sensors, self._sensor, self._time, self._value)
        each, last = (
            np.arange(self.partitions),
            self._time[-1:].repeat(self.partitions) + 2 * self._shape.size_ms,
        )
        yield from _records(closing(self.partitions), each, last, np.ones(self.partitions))

    def answer(self) -> Rows:
        """Count and add up: every reading into each of the windows that hold it."""
        shape = self._shape
        newest = self._time // shape.hop_ms * shape.hop_ms
        hour = self._time // HOUR_MS % 24 if shape.hourly else np.zeros(self.events, np.int64)
        parts = [newest - shape.hop_ms * back for back in range(shape.size_ms // shape.hop_ms)]
        place, oldest = self._sensor * 24 + hour, int(parts[-1][0])
        keys = np.concatenate([place << 40 | start - oldest for start in parts])
        groups, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        sums = np.bincount(inverse, np.tile(self._value, len(parts)))
        places, starts = groups >> 40, (groups & (1 << 40) - 1) + oldest
        rows = zip(*(c.tolist() for c in (places // 24, places % 24, starts, counts, sums)), strict=True)
        return Rows(
            [(_name(sensor), hour, start, count, total) for sensor, hour, start, count, total in rows], CLOSER
        )


def _name(number: int) -> str:
    return f"meter-{number:05d}"


def _records(
    names: Sequence[str], which: NDArray[np.int64], time: NDArray[np.int64], value: NDArray[np.float64]
) -> Iterator[Record]:
    sensor = named(names, which)
    template = '{"identifier":"%s","timestamp":%s,"valueInW":%s}'
    return records(sensor, template, sensor, numerals(time), numerals(value))


# --- Tidewatch


def declare(case: str) -> Callable[[str, str], Pipeline]:
    """Return what declares a case's pipeline for its topics."""
    shape = CASES[case]

    def declared(source: str, results: str) -> Pipeline:
        return Pipeline(
            name=case, source=source, event=POWER, value="power", results=results, alerts=f"{results}.alert",
            group_by=("identifier", "hour") if shape.hourly else ("identifier",), idle_timeout_ms=None,
            window=Tumbling(shape.size_ms) if shape.size_ms == shape.hop_ms else Hopping(shape.size_ms, shape.hop_ms),
            attributes=(HourOfDay(),) if shape.hourly else (),
        )  # fmt: skip

    return declared


class _Window(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    start: int
    count: int
    sum: float


_window = msgspec.json.Decoder(_Window).decode


def read(value: bytes) -> list[Row]:
    """Return a result as a row; without hours the hour is 0."""
    window = _window(value)
    return [
        (
            window.labels["identifier"],
            int(window.labels.get("hour", "0")),
            window.start,
            window.count,
            window.sum,
        )
    ]


# --- Flink


def statements(case: str, run: Run) -> list[str]:
    """Return what Flink is told for a case."""
    shape = CASES[case]
    readings = (
        "identifier STRING, valueInW DOUBLE, `timestamp` BIGINT, moment AS TO_TIMESTAMP_LTZ(`timestamp`, 3),"
        f" `hour` AS {'HOUR(TO_TIMESTAMP_LTZ(`timestamp`, 3))' if shape.hourly else '0'},"
        " WATERMARK FOR moment AS moment - INTERVAL '2' SECOND"
    )
    window = (
        f"TUMBLE(TABLE readings, DESCRIPTOR(moment), {_interval(shape.size_ms)})"
        if shape.size_ms == shape.hop_ms
        else f"HOP(TABLE readings, DESCRIPTOR(moment), {_interval(shape.hop_ms)}, {_interval(shape.size_ms)})"
    )
    return [
        flink.source(run, "", "readings", readings),
        flink.sink(
            run, "results", "identifier STRING, `hour` BIGINT, `start` TIMESTAMP(3), n BIGINT, total DOUBLE"
        ),
        "INSERT INTO results SELECT identifier, CAST(`hour` AS BIGINT), window_start, COUNT(*), SUM(valueInW)"
        f" FROM TABLE({window}) GROUP BY identifier, `hour`, window_start, window_end",
    ]


def _interval(ms: int) -> str:
    days, minutes = divmod(ms, DAY_MS)
    return f"INTERVAL '{days}' DAY" if days else f"INTERVAL '{minutes // 60_000}' MINUTE"
