"""The recount that every system's results are held against: fast and wrong is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.events import START, WINDOW, Workload
from benchmarks.scenario import Read, Record
from benchmarks.texts import CLOSER


class Result(msgspec.Struct, frozen=True):
    """What every system must say of a sensor's window; ``median`` only where it has a sketch of relative accuracy 1%."""

    sensor: str
    start: int
    count: int
    mean: float
    min: float
    max: float
    median: float | None = None


class Summary(msgspec.Struct, frozen=True):
    """What is read of a Tidewatch result."""

    labels: dict[str, str]
    start: int
    count: int
    mean: float
    min: float
    max: float
    quantiles: dict[str, float]

    def result(self) -> Result:
        """Return it in the common form."""
        sensor = self.labels["sensor_id"]
        return Result(sensor, self.start, self.count, self.mean, self.min, self.max, self.quantiles["0.5"])


@dataclass(frozen=True)
class Recount:
    """The aggregates of every window in order of (sensor, start), arrays of shape (windows,); medians are order statistics."""

    sensor: NDArray[np.int64]
    start: NDArray[np.int64]
    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    median: NDArray[np.float64]

    @classmethod
    def of(cls, workload: Workload) -> Recount:
        """Count a workload's windows by sorting its events."""
        start = workload.time - workload.time % WINDOW
        group = workload.key * (1 << 32) + (start - START)
        order = np.lexsort((workload.value, group))
        value, group = workload.value[order], group[order]
        first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        count = np.diff(np.concatenate([first, [len(group)]]))
        mean = np.add.reduceat(value, first) / count
        median = value[first + (count - 1) // 2]
        key, begin = group[first] >> 32, START + (group[first] & 0xFFFFFFFF)
        return cls(key, begin, count, mean, value[first], value[first + count - 1], median)

    def __len__(self) -> int:
        return len(self.sensor)


@dataclass
class Verdict:
    """What was found wrong, the first few in words."""

    faults: list[str] = field(default_factory=list)

    @property
    def correct(self) -> bool:
        """Whether nothing was."""
        return not self.faults


def judge(workload: Workload, recount: Recount, results: Iterable[Result], *, sketch: bool) -> Verdict:
    """Compare results, each window once, with the recount: counts and extremes exactly, means to 1e-9, medians to 2.1%."""
    found: dict[tuple[str, int], Result] = {}
    verdict = Verdict()
    for result in results:
        if result.sensor.startswith(CLOSER):
            continue
        if (result.sensor, result.start) in found:
            verdict.faults.append(f"{result.sensor} at {result.start} comes twice")
        found[result.sensor, result.start] = result
    missing = 0
    for i in range(len(recount)):
        name, start = workload.sensor(int(recount.sensor[i])), int(recount.start[i])
        if (name, start) in found:
            verdict.faults += _differences(recount, i, found.pop((name, start)), sketch)
        else:
            missing += 1
    if missing:
        verdict.faults.append(f"{missing} of {len(recount)} windows are missing")
    if found:
        verdict.faults.append(f"{len(found)} windows are of no event, such as {next(iter(found))}")
    return Verdict(verdict.faults[:10])


def _differences(recount: Recount, i: int, result: Result, sketch: bool) -> list[str]:
    exact = (int(recount.count[i]), float(recount.low[i]), float(recount.high[i]))
    said = (result.count, result.min, result.max)
    where = f"{result.sensor} at {result.start}"
    faults = [] if exact == said else [f"{where}: count, min, max are {said}, not {exact}"]
    if not np.isclose(result.mean, recount.mean[i], rtol=1e-9, atol=0):
        faults.append(f"{where}: mean is {result.mean}, not {recount.mean[i]}")
    if sketch and not _median_holds(result.median, float(recount.median[i])):
        faults.append(f"{where}: median is {result.median}, not {recount.median[i]}")
    return faults


def _median_holds(said: float | None, median: float) -> bool:
    # Interpolated within its bin a quantile is at most the bin's width off, 2 alpha / (1 - alpha) of it.
    return said is not None and abs(said - median) <= 0.0203 * median + 1e-9


class Plain(Workload):
    """The plain scenario: one topic of readings, to be counted by sensor and ten seconds."""

    def topics(self) -> Mapping[str, Iterable[Record]]:
        """Return the records of the topic."""
        return {"": self.records()}

    def answer(self) -> PlainAnswer:
        """Recount."""
        return PlainAnswer(self)


class PlainAnswer:
    """The recount of a plain scenario, as every system is held against it."""

    def __init__(self, workload: Workload) -> None:
        self._workload, self._recount = workload, Recount.of(workload)

    def __len__(self) -> int:
        return len(self._recount)

    def wanted(self, value: bytes) -> bool:
        """Tell whether a result is of a sensor, not of what closes windows."""
        return CLOSER.encode() not in value

    def judge(self, read: Read, values: Iterable[bytes], *, sketch: bool) -> list[str]:
        """Return what is wrong with a system's results."""
        return judge(self._workload, self._recount, map(read, values), sketch=sketch).faults
