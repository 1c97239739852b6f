"""A partition batch in its two forms: raw records as fetched, and typed columns as the tasks see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ErrorCode
from schemas.panes import PaneRows

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Consecutive records of one topic partition, undecoded.

    ``[start, next)`` is the range of offsets the batch accounts for; offsets inside it need not be
    consecutive (transaction markers, aborted records, compaction). ``log_times`` are the broker's
    LogAppendTime in milliseconds. ``content_types`` is ``None`` where no record carries the header.
    """

    topic: str
    partition: int
    start: int
    next: int
    offsets: Int64s
    log_times: Int64s
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    content_types: Sequence[str | None] | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Coded:
    """A text column as codes into the batch's own list of distinct values; clinical facts are kept as they were read."""

    codes: Int32s
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record, or one row of it, that is no valid event."""

    offset: int
    row: int
    code: ErrorCode
    detail: str
    key: bytes | None
    value: bytes | None


class Sent(NamedTuple):
    """The record at ``offset`` is batch ``number`` of a gateway's ``stream``; numbers rise along a stream."""

    offset: int
    stream: str
    number: int


@dataclass(frozen=True, slots=True)
class Columns:
    """The valid rows of one raw batch, in (offset, row) order, plus those rejected.

    All arrays have shape (n,). ``event_time`` and ``log_time`` are milliseconds since the Unix epoch.
    ``numbers`` holds values in the canonical unit. ``raw(i)`` gives key and wire bytes of row ``i`` as one
    JSON record (for late and dead letters), without keeping copies for rows that nobody asks for. ``sent`` names the
    records that are numbered batches, in order of offset; cuts of a batch keep all of them. ``panes`` says which rows are
    aggregates of events, ``None`` if none is; such a row has the time of its latest event, and its largest value for numbers.
    """

    topic: str
    partition: int
    start: int
    next: int
    offset: Int64s
    row: Int32s
    log_time: Int64s
    event_time: Int64s
    numbers: Mapping[str, Float64s]
    labels: Mapping[str, Coded]
    raw: Callable[[int], tuple[bytes | None, bytes]]
    rejected: tuple[Rejected, ...] = field(default=())
    sent: tuple[Sent, ...] = field(default=())
    panes: PaneRows | None = None

    def __len__(self) -> int:
        return len(self.offset)

    def take(
        self, rows: NDArray[np.intp] | slice, start: int, next_: int, rejected: tuple[Rejected, ...] = ()
    ) -> Columns:
        """Return the given rows as a batch of their own that accounts for ``[start, next_)``."""
        where = np.arange(len(self))[rows]
        raw = self.raw
        return Columns(
            self.topic,
            self.partition,
            start,
            next_,
            self.offset[rows],
            self.row[rows],
            self.log_time[rows],
            self.event_time[rows],
            {name: column[rows] for name, column in self.numbers.items()},
            {name: Coded(column.codes[rows], column.values) for name, column in self.labels.items()},
            lambda i: raw(int(where[i])),
            rejected,
            self.sent,
            None if self.panes is None else self.panes.take(rows),
        )
