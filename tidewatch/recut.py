"""Range-partitioned topics: how balanced they are, and one that takes over from another at a window boundary."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from threading import Event

import msgspec
import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from producers.key_sketch import KeySketch
from schemas.codec import Decoder
from schemas.columns import RawBatch
from schemas.event_types import EventType
from schemas.partitioning import partition_of
from schemas.ranges import RangeTable
from schemas.topics import RANGES
from sinks.errors import TopicError
from sinks.reader import EARLIEST, Start, read_to_end
from streams.transactions import Record, TransactionalWriter
from streams.watermark import BEGINNING
from tidewatch.backfill.sources import topic_sources

Connection = Mapping[str, str | int]
TRANSACTION = 30.0
RECORDS = 20_000
PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Balance:
    """The shares of a topic's rows by partition, shape (partitions,), now and if it were cut anew; and what was looked at."""

    rows: int
    shares: NDArray[np.float64]
    recut: NDArray[np.float64]
    bounds: tuple[str, ...]

    @property
    def imbalance(self) -> float:
        """The largest share over the mean."""
        return float(self.shares.max() * len(self.shares))

    @property
    def after(self) -> float:
        """The same, if the topic were cut anew."""
        return float(self.recut.max() * len(self.recut))


@dataclass(frozen=True, slots=True)
class Copied:
    """A record of a partition: the newest event time there so far, the position after it, and its rows that are to be copied."""

    newest: int
    partition: int
    next: int
    rows: list[tuple[bytes | None, bytes]]


def balance(
    connection: Connection, topic: str, start: Start = EARLIEST, partitions: int | None = None
) -> Balance:
    """Look at the keys of a topic, from a log-append time on, and how they are and could be shared by so many partitions.

    Raises:
        TopicError: the topic is not there, or has fewer keys than partitions.
    """
    present = len(topic_sources(dict(connection), topic))
    sketch, counts = KeySketch(), np.zeros(present, np.int64)
    for messages in read_to_end(connection, [topic], start):
        sketch.add(message.key() or b"" for message in messages)
        numbers = np.fromiter((message.partition() or 0 for message in messages), np.int64, len(messages))
        counts += np.bincount(numbers, minlength=present)
    try:
        bounds = sketch.bounds(partitions or present)
    except ValueError as error:
        raise TopicError(f"{topic}: {error}") from error
    recut = sketch.loads(RangeTable(topic, topic, 0, bounds))
    return Balance(sketch.rows, counts / max(int(counts.sum()), 1), recut, bounds)


def range_table(connection: Connection, topic: str) -> RangeTable | None:
    """Return the range table of a topic, ``None`` if it has none."""
    try:
        value = _controls(connection).get(topic)
    except TopicError:  # where no table was ever kept
        return None
    return None if value is None else msgspec.json.decode(value, type=RangeTable)


def keep_table(connection: Connection, table: RangeTable) -> RangeTable:
    """Keep a topic's table, unless it has one, and return the one that holds: tables never change."""
    writer = TransactionalWriter(connection, _transactions(table.topic), TRANSACTION, 0)
    try:
        writer.open()  # whoever was about to write another one is fenced
        found = range_table(connection, table.topic)
        if found is None:
            writer.write([_control(connection, table.topic, msgspec.json.encode(table))])
        return found or table
    finally:
        writer.close()


def copy(
    connection: Connection,
    table: RangeTable,
    event: EventType,
    stopping: Event,
    tell: Callable[[int], None],
    *,
    follow: bool,
) -> int:
    """Copy the rows of the source topic that are the new topic's, up to the present end or on and on, and return how many.

    Partitions are merged by the newest event time of each so far, lest rows of one be late after those of another.

    Delivery: each row once, whoever dies: what is copied and the positions after it are one transaction, and a second copier fences
    the first. Rows that cannot be read stay with the old topic, which dead-letters them.

    Raises:
        TopicError: the source has dropped records that were not copied yet.
        FencedError: another copier has taken over.
    """
    copied = 0
    writer = TransactionalWriter(connection, _transactions(table.topic), TRANSACTION, 0)
    try:
        writer.open()
        while True:
            for number in _copied(connection, table, event, writer):
                copied += number
                tell(copied)
                if stopping.is_set():
                    return copied
            if not follow or stopping.wait(PAUSE):
                return copied
    finally:
        writer.close()


def merged(table: RangeTable, parts: Iterable[Iterable[RawBatch]], event: EventType) -> Iterator[Copied]:
    """Yield the records of partitions with what is to be copied of each, by the newest event time of their partition so far."""
    return heapq.merge(*(_records(table, part, event) for part in parts), key=lambda record: record.newest)


def _records(table: RangeTable, batches: Iterable[RawBatch], event: EventType) -> Iterator[Copied]:
    decode, newest = Decoder(event), BEGINNING
    for batch in batches:
        columns = decode(batch)
        first = np.searchsorted(columns.offset, batch.offsets).tolist()
        last = np.searchsorted(columns.offset, batch.offsets, side="right").tolist()
        times = columns.event_time.tolist()
        for offset, a, b in zip(batch.offsets.tolist(), first, last, strict=True):
            newest = max([newest, *times[a:b]])
            rows = [columns.raw(row) for row in range(a, b) if times[row] >= table.begins]
            yield Copied(newest, batch.partition, offset + 1, rows)


def _copied(
    connection: Connection, table: RangeTable, event: EventType, writer: TransactionalWriter
) -> Iterator[int]:
    """Copy to the present end, and yield how many rows each transaction had."""
    controls, parts = _controls(connection), []
    for source in topic_sources(dict(connection), table.source):
        position = int(controls.get(f"{table.topic}/{source.partition}", b"-1"))
        if 0 <= position < source.start:
            raise TopicError(
                f"{table.source}[{source.partition}] has dropped records {position} to {source.start}, "
                "which were not copied yet; cut anew to another topic"
            )
        parts.append(msgspec.structs.replace(source, start=max(position, source.start)).batches())
    records = merged(table, parts, event)
    while some := list(islice(records, RECORDS)):
        rows = [pair for record in some for pair in record.rows]
        where = table.partition_of([key or b"" for key, _ in rows]).tolist()
        out = [Record(table.topic, partition, *pair) for partition, pair in zip(where, rows, strict=True)]
        positions = {record.partition: record.next for record in some}
        out += [_control(connection, f"{table.topic}/{p}", b"%d" % n) for p, n in positions.items()]
        writer.write(out)
        yield len(rows)


def _transactions(topic: str) -> str:
    return f"tw.recut.{topic}"


def _controls(connection: Connection) -> dict[str, bytes]:
    """Return the newest record of each key of the control topic."""
    found: dict[str, bytes] = {}
    for messages in read_to_end(connection, [RANGES]):
        found |= {(m.key() or b"").decode(): m.value() or b"" for m in messages if _is_set(m)}
    return found


def _is_set(message: Message) -> bool:
    return message.key() is not None and message.value() is not None


def _control(connection: Connection, key: str, value: bytes) -> Record:
    partitions = len(topic_sources(dict(connection), RANGES))
    return Record(RANGES, int(partition_of([key.encode()], partitions)[0]), key.encode(), value)
