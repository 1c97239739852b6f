"""Replay of a file: rows to readings to a topic, in bounded memory, at the speed asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from producers.errors import EventRejectedError, SourceError
from producers.mapping import ColumnMap, Readings
from producers.pacing import Pacer
from producers.rejects import RejectReason, Rejects
from producers.sources import read_frames
from schemas.events import SensorReading


@dataclass(slots=True)
class ReplayReport:
    """What a replay did: events handed over, their first and last time (ms), and the rows that became none."""

    events: int = 0
    first_time: int | None = None
    last_time: int | None = None
    rejects: Rejects = field(default_factory=Rejects)

    def saw(self, time: int) -> None:
        """Count one event sent."""
        self.events += 1
        self.first_time = time if self.first_time is None else min(self.first_time, time)
        self.last_time = time if self.last_time is None else max(self.last_time, time)


def file_readings(
    path: Path, mapping: ColumnMap, rejects: Rejects, *, delimiter: str = ",", ordered: bool = False
) -> Iterator[Readings]:
    """Yield a file's readings chunk by chunk; ``ordered`` by event time instead, which holds them all in memory.

    Raises:
        MappingError, SourceError: as `producers.sources.read_frames`.
    """
    chunks = (
        mapping.readings(frame, rejects)
        for frame in read_frames(path, mapping.source_columns, rejects, delimiter=delimiter)
    )
    return iter([by_time(chunks)]) if ordered else chunks


def by_time(chunks: Iterable[Readings]) -> Readings:
    """Join chunks into one, in order of event time; equal times keep their order."""
    kept = list(chunks)
    events = [event for chunk in kept for event in chunk.events]
    times = np.concatenate([chunk.times for chunk in kept]) if kept else np.zeros(0, np.int64)
    order = np.argsort(times, kind="stable")
    return Readings([events[i] for i in order.tolist()], times[order])


def time_span(path: Path, mapping: ColumnMap, *, delimiter: str = ",") -> tuple[int, int]:
    """Return the earliest and latest event time (ms) of a file in one pass over it.

    Raises:
        SourceError: the file has no valid row; otherwise as `file_readings`.
    """
    low, high = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for chunk in file_readings(path, mapping, Rejects(), delimiter=delimiter):
        if len(chunk.times):
            low, high = min(low, int(chunk.times.min())), max(high, int(chunk.times.max()))
    if low > high:
        raise SourceError(f"{path}: no row is a valid reading")
    return int(low), int(high)


def replay(
    chunks: Iterable[Readings],
    send: Callable[[SensorReading], None],
    pacer: Pacer,
    report: ReplayReport,
    *,
    shift: int = 0,
    on_sent: Callable[[int], None] | None = None,
) -> ReplayReport:
    """Hand each reading to ``send`` when it is due, its time moved by ``shift`` ms.

    Delivery is that of ``send``; readings it refuses are counted under ``refused``, and any other error ends the
    replay. ``on_sent`` is called after each reading with the number sent, one.
    """
    for chunk in chunks:
        for event, original in zip(chunk.events, chunk.times.tolist(), strict=True):
            time = original + shift
            pacer.wait_for(time)
            try:
                send(msgspec.structs.replace(event, time=time) if shift else event)
            except EventRejectedError as error:
                report.rejects.add(RejectReason.REFUSED, error)
            else:
                report.saw(time)
                if on_sent is not None:
                    on_sent(1)
    return report
