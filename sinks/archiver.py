"""Archives topics as Parquet files, exactly one copy of each record, whatever dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.columns import RawBatch
from sinks.archive_files import Extent, PartitionFiles, locked
from sinks.batches import raw_batch
from sinks.errors import BackPressureError, SinkError, TopicError
from sinks.metrics import SinkMetrics

log = logging.getLogger(__name__)

TIMEOUT = 30.0
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE)
Place = tuple[str, int]
Maker = Callable[[RawBatch], pa.Table]
"""Turns the records of a partition into the table to store."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """When a partition's records become a file: so many records or bytes, or so many seconds after the first."""

    records: int = 500_000
    bytes: int = 64_000_000
    seconds: float = 60.0
    total_bytes: int = 256_000_000


@dataclass(slots=True)
class _Open:
    """One partition under way: its files, the position that they lead to, and the records not yet in a file."""

    files: PartitionFiles
    topic_id: str
    position: int
    messages: list[Message] = field(default_factory=list)
    size: int = 0
    since: float = 0.0


class Archiver:
    """Write every committed record of the topics to files in a directory.

    Delivery: exactly one copy on disk. The position is recovered from the files themselves, no offsets are committed; a file is
    there whole or not at all; one process at a time can archive a topic to a place. A full disk stops reading until there
    is room. Records that retention removed before they were archived stop the archive, unless ``accept_loss``.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        makers: Mapping[str, Maker],
        root: Path,
        metrics: SinkMetrics,
        *,
        limits: ArchiveLimits | None = None,
        accept_loss: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._makers = makers
        self._root = root
        self._metrics = metrics
        self._limits = limits or ArchiveLimits()
        self._accept_loss = accept_loss
        self._monotonic = monotonic
        self._open: dict[Place, _Open] = {}
        self._at_end: set[Place] = set()
        self._connection = connection

    def run(self, stopping: Event, *, until_end: bool = False) -> None:
        """Archive until ``stopping`` is set or, if asked, until every partition has been read to its end; then write what is left.

        Raises:
            TopicError: a topic is not there.
            SinkError: the archive does not fit the topic, is in use, or cannot be written.
            KafkaException: no broker answers at first.
        """
        consumer = Consumer(
            {
                "log_level": 3,
                "queued.max.messages.kbytes": 16_384,
                **self._connection,
                "group.id": "tidewatch-archive",  # librdkafka wants a name; nothing is ever committed under it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
            }
        )
        try:
            with ExitStack() as locks:
                for topic in self._makers:
                    locks.enter_context(locked(self._root, topic))
                self._recover(consumer)
                self._work(consumer, stopping, until_end)
        finally:
            consumer.close()

    def _recover(self, consumer: Consumer) -> None:
        ids = topic_ids(self._connection, list(self._makers))
        known = consumer.list_topics(timeout=TIMEOUT).topics
        for topic in self._makers:
            for partition in known[topic].partitions:
                files = PartitionFiles(self._root, topic, partition)
                files.prepare()
                oldest, end = consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=TIMEOUT
                )
                position = self._position(files, topic, ids[topic], oldest, end)
                self._open[topic, partition] = _Open(files, ids[topic], position)
        consumer.assign([TopicPartition(*place, state.position) for place, state in self._open.items()])

    def _position(self, files: PartitionFiles, topic: str, topic_id: str, oldest: int, end: int) -> int:
        last = files.last()
        if last is None:
            return oldest
        if last.topic_id != topic_id or last.next > end:
            raise SinkError(
                f"{files.directory} is of an earlier topic of the name {topic}; archive the present one to another place"
            )
        if last.next < oldest:
            lost = f"{oldest - last.next} records of {topic} were deleted before they were archived in {files.directory}"
            if not self._accept_loss:
                raise SinkError(
                    f"{lost}; go on with --accept-loss, and keep records longer than the archive may be down"
                )
            log.warning("%s; going on at %d", lost, oldest)
            return oldest
        return last.next

    def _work(self, consumer: Consumer, stopping: Event, until_end: bool) -> None:
        while not stopping.is_set() and not (until_end and len(self._at_end) == len(self._open)):
            self._take(consumer.consume(10_000, 0.2))
            self._write_due(stopping)
        # Stopped while the disk is full, this fails; the records are fetched again next time.
        for place, state in self._open.items():
            while state.messages:
                self._write(place, state)

    def _take(self, messages: Sequence[Message]) -> None:
        now = self._monotonic()
        for message in messages:
            place = str(message.topic()), int(message.partition() or 0)
            error = message.error()
            if error is not None:
                self._problem(place, error)
                continue
            self._at_end.discard(place)
            state = self._open[place]
            state.since = state.since if state.messages else now
            state.messages.append(message)
            state.size += _size(message)
            self._metrics.received(1)

    def _problem(self, place: Place, error: KafkaError) -> None:
        match error.code():
            case KafkaError._PARTITION_EOF:
                self._at_end.add(place)
            case KafkaError._AUTO_OFFSET_RESET | KafkaError.OFFSET_OUT_OF_RANGE:
                raise SinkError(
                    f"{place[0]}[{place[1]}] no longer holds the next offset to archive: {error.str()}; start again"
                )
            case _ if error.retriable() or error.code() in _AWAY:
                log.warning("%s[%d]: %s", *place, error.str())
            case _:
                raise KafkaException(error)

    def _write_due(self, stopping: Event) -> None:
        limits, now = self._limits, self._monotonic()
        while not stopping.is_set():
            crowded = sum(state.size for state in self._open.values()) > limits.total_bytes
            largest = max((state.size for state in self._open.values()), default=0)
            due = [
                (place, state)
                for place, state in self._open.items()
                if state.messages
                and (
                    len(state.messages) >= limits.records
                    or state.size >= limits.bytes
                    or now - state.since >= limits.seconds
                    or (crowded and state.size == largest)
                )
            ]
            if not due:
                return
            try:
                for place, state in due:
                    self._write(place, state)
            except BackPressureError as pressure:
                self._metrics.error("write", pressure.code)
                log.warning("%s", pressure)
                stopping.wait(pressure.retry_after)

    def _write(self, place: Place, state: _Open) -> None:
        """Write one file, of so many records at most."""
        started = self._monotonic()
        messages, rest = state.messages[: self._limits.records], state.messages[self._limits.records :]
        batch = raw_batch(messages, *place, state.position)
        table = self._makers[place[0]](batch)
        state.files.write(table, Extent(batch.start, batch.next, state.topic_id))
        self._metrics.wrote(len(messages), self._monotonic() - started)
        state.position, state.messages = batch.next, rest
        state.size -= sum(map(_size, messages))


def _size(message: Message) -> int:
    return len(message) + 200  # what Python and librdkafka need beside the value


def topic_ids(connection: Mapping[str, str | int], topics: Sequence[str]) -> dict[str, str]:
    """Return the cluster's id of each topic, which a topic made anew under the same name does not share.

    Raises:
        TopicError: a topic is not there.
    """
    from confluent_kafka import TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"log_level": 3, **connection})
    found = {}
    for topic, future in admin.describe_topics(
        TopicCollection(list(topics)), request_timeout=TIMEOUT
    ).items():
        try:
            found[topic] = str(future.result(TIMEOUT).topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            raise TopicError(f"no topic {topic}; make it with `tidewatch topics create`") from error
    return found
