"""Where the records of history come from: an archive's files, a topic's offsets, or what earlier tasks left for later ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from schemas.columns import RawBatch
from sinks.archive_files import PartitionFiles, extent_of
from sinks.errors import SinkError, TopicError
from sinks.tables import raw_batch_of
from streams.consumer import BatchConsumer
from streams.intake import End, Failure, Records
from tidewatch.backfill.record_files import batches_of, is_record_file, records_of

_BATCH = 20_000
_COLUMNS = ["topic", "partition", "offset", "timestamp", "record_key", "record_value", "record_type"]
TIMEOUT = 30.0


class ArchiveSource(msgspec.Struct, frozen=True):
    """One partition in an archive of `tidewatch sink parquet`, or in what a backfill wrote."""

    root: str
    topic: str
    partition: int

    @property
    def total(self) -> int:
        """How many rows the files have, about as many as records."""
        return sum(pq.read_metadata(file).num_rows for file in self._files)

    @property
    def _files(self) -> list[Path]:
        return PartitionFiles(Path(self.root), self.topic, self.partition).files()

    def batches(self) -> Iterator[RawBatch]:
        """Yield the records in offset order.

        Raises:
            SinkError: files between others are missing, or the archive does not keep records as they were sent.
        """
        start: int | None = None
        for file in self._files:
            if is_record_file(file):
                for batch in batches_of(file, self.topic, self.partition, start or 0):
                    start = batch.next
                    yield batch
                continue
            extent = extent_of(file)
            if start is not None and extent.first > start:
                raise SinkError(
                    f"{file.parent} lacks the records from {start} to {extent.first}; bring the missing file back, "
                    "or backfill from the topic"
                )
            yield from _events(file, extent.first)
            start = extent.next


def _events(file: Path, start: int) -> Iterator[RawBatch]:
    """Yield a file's records; those with several rows may be cut between batches."""
    with pq.ParquetFile(file) as opened:
        if "record_key" not in opened.schema_arrow.names:
            raise SinkError(
                f"{file} keeps decoded results, not records as they were sent; backfill from the topic"
            )
        before = -1
        for piece in opened.iter_batches(_BATCH, columns=_COLUMNS):
            offsets = np.asarray(piece.column("offset"))
            table = pa.Table.from_batches([piece]).filter(pa.array(offsets != before))
            before = int(offsets[-1])
            if len(table):
                batch = raw_batch_of(table, start)
                start = batch.next
                yield batch


class TopicSource(msgspec.Struct, frozen=True):
    """The committed records of one partition of a topic, offsets ``[start, end)``. The connection is of librdkafka."""

    connection: dict[str, str | int]
    topic: str
    partition: int
    start: int
    end: int

    @property
    def total(self) -> int:
        """How many offsets there are, at least as many as records."""
        return self.end - self.start

    def batches(self) -> Iterator[RawBatch]:
        """Yield the records in offset order.

        Raises:
            SinkError: the broker no longer has them or does not let them be read.
        """
        if self.start >= self.end:
            return
        with closing(BatchConsumer(self.connection)) as consumer:
            consumer.assign((self.topic, self.partition), self.start)
            position = self.start
            while position < self.end:
                for arrival in consumer.consume(_BATCH, 0.5):
                    match arrival:
                        case Records():
                            batch = _until(arrival, position, self.end)
                            position = batch.next
                            yield batch
                        case End():
                            position = max(position, arrival.offset)
                        case Failure():
                            raise SinkError(f"{self.topic}[{self.partition}] cannot be read: {arrival.text}")


def _until(records: Records, start: int, end: int) -> RawBatch:
    """Return the records before ``end`` as the batch from ``start`` on; what lies between its last and ``end`` is no record."""
    n = int(np.searchsorted(records.offsets, end))
    types = records.content_types
    reached = int(records.offsets[-1]) + 1 if n == len(records.offsets) else end
    return RawBatch(
        *records.source, start, reached, records.offsets[:n], records.log_times[:n], records.keys[:n],
        records.values[:n], None if types is None else types[:n],
    )  # fmt: skip


class ShuffledSource(msgspec.Struct, frozen=True):
    """What the tasks of earlier stages sent to one partition of a topic between stages, in files of this run.

    It is merged by the senders' watermarks, ties in their order: results do not depend on how senders interleave, but memory does,
    and so the furthest never runs ahead of the others.
    """

    files: list[str]
    topic: str
    partition: int

    @property
    def total(self) -> int:
        """How many records there are."""
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def batches(self) -> Iterator[RawBatch]:
        """Yield the records in one order, the same at every call."""
        senders = [records_of(Path(file), self.topic, self.partition) for file in self.files]
        start = 0
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        for _, record in heapq.merge(*senders, key=lambda pair: pair[0]):
            keys.append(record.key)
            values.append(record.value)
            if len(keys) == _BATCH:
                yield self._batch(start, keys, values)
                start, keys, values = start + _BATCH, [], []
        if keys:
            yield self._batch(start, keys, values)

    def _batch(self, start: int, keys: list[bytes | None], values: list[bytes | None]) -> RawBatch:
        n = len(keys)
        offsets = np.arange(start, start + n, dtype=np.int64)
        return RawBatch(
            self.topic, self.partition, start, start + n, offsets, np.zeros(n, np.int64), keys, values
        )


Source = ArchiveSource | TopicSource | ShuffledSource


def archive_sources(root: Path, topic: str) -> list[ArchiveSource]:
    """Return the partitions of a topic in an archive, in order.

    Raises:
        TopicError: the archive has no such topic.
    """
    directory = root / topic
    numbers = sorted(int(each.name) for each in directory.glob("[0-9]*") if each.is_dir())
    if not numbers or numbers != list(range(len(numbers))):
        raise TopicError(
            f"{directory} is no archive of a topic; make one with `tidewatch sink parquet {topic}`"
        )
    return [ArchiveSource(str(root.absolute()), topic, number) for number in numbers]


def topic_sources(connection: dict[str, str | int], topic: str) -> list[TopicSource]:
    """Return the partitions of a topic, each from its first offset to its present end.

    Raises:
        TopicError: there is no such topic.
        KafkaException: no broker answers.
    """
    settings = {
        "log_level": 3,
        **connection,
        "group.id": "tidewatch-backfill",
        "isolation.level": "read_committed",
    }
    with closing(Consumer(settings)) as consumer:
        found = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
        if found.error is not None or not found.partitions:
            raise TopicError(f"no topic {topic}; make it with `tidewatch topics create`")
        sources = []
        for partition in sorted(found.partitions):
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT)
            sources.append(TopicSource(dict(connection), topic, partition, low, high))
        return sources
