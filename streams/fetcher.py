"""The fetch thread: one librdkafka consumer by ``assign()``, one delivery for each partition batch, bounded in bytes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.columns import RawBatch
from streams.config import EngineConfig

Source = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A batch on its way to the task that asked for it; ``ticket`` names the request, so that older ones are told apart."""

    ticket: int
    batch: RawBatch
    size: int
    at_end: bool = False
    error: str | None = None


@dataclass(slots=True)
class _Feed:
    ticket: int
    next: int
    buffered: int = 0
    paused: bool = False


class Fetcher:
    """Fetch the partitions that tasks asked for and hand each batch to ``deliver``.

    A partition with more than its share of bytes under way leaves the fetch set until half of them are processed; the
    others go on. ``deliver`` is called on the fetch thread. Only records of committed transactions are delivered.
    """

    def __init__(self, config: EngineConfig, deliver: Callable[[Delivery], None]) -> None:
        self._config = config
        self._deliver = deliver
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._feeds: dict[Source, _Feed] = {}
        self._tickets = 0
        self._ticket_lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tw-fetch", daemon=True)

    def start(self) -> None:
        """Start the fetch thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it and close the consumer."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def add(self, source: Source, position: int) -> int:
        """Fetch ``source`` from ``position`` on and return the ticket of its deliveries; replaces an earlier request."""
        with self._ticket_lock:
            self._tickets += 1
            ticket = self._tickets
        self._command(lambda: self._assign(source, position, ticket))
        return ticket

    def remove(self, source: Source, ticket: int) -> None:
        """Stop fetching ``source`` if ``ticket`` is still its newest request."""
        self._command(lambda: self._unassign(source, ticket))

    def done(self, delivery: Delivery) -> None:
        """Say that a delivery was processed or dropped, which frees its bytes."""
        self._command(lambda: self._release(delivery))

    def _command(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        self._wake.set()

    def _run(self) -> None:
        config = self._config
        self._consumer = Consumer(
            {
                "log_level": 3,
                **config.connection,
                "group.id": f"tidewatch-{config.app_id}-data",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 2,
                "fetch.wait.max.ms": 50,
                "max.partition.fetch.bytes": 4_000_000,
                "queued.max.messages.kbytes": 64_000,
                "queued.min.messages": 300_000,
                "check.crcs": False,
            }
        )
        try:
            while not self._stop.is_set():
                self._wake.clear()
                while not self._commands.empty():
                    self._commands.get()()
                if self._feeds:
                    self._dispatch(self._consumer.consume(config.fetch_records, config.fetch_wait))
                else:
                    self._wake.wait(0.5)
        finally:
            self._consumer.close()

    def _assign(self, source: Source, position: int, ticket: int) -> None:
        if source in self._feeds:
            self._consumer.incremental_unassign([TopicPartition(*source)])
        self._feeds[source] = _Feed(ticket, position)
        self._consumer.incremental_assign([TopicPartition(*source, position)])

    def _unassign(self, source: Source, ticket: int) -> None:
        feed = self._feeds.get(source)
        if feed is not None and feed.ticket == ticket:
            del self._feeds[source]
            self._consumer.incremental_unassign([TopicPartition(*source)])

    def _release(self, delivery: Delivery) -> None:
        source = (delivery.batch.topic, delivery.batch.partition)
        feed = self._feeds.get(source)
        if feed is None or feed.ticket != delivery.ticket:
            return
        feed.buffered -= delivery.size
        if self._buffered() <= self._config.worker_buffer_bytes // 2:
            for name, other in self._feeds.items():
                if other.paused and other.buffered <= self._config.partition_buffer_bytes // 2:
                    other.paused = False
                    self._consumer.resume([TopicPartition(*name)])

    def _buffered(self) -> int:
        return sum(feed.buffered for feed in self._feeds.values())

    def _dispatch(self, messages: list[Message]) -> None:
        groups: dict[Source, list[Message]] = {}
        for message in messages:
            source = (str(message.topic()), int(message.partition() or 0))
            if message.error() is None:
                group = groups.get(source)
                if group is None:
                    groups[source] = [message]
                else:
                    group.append(message)
            else:
                self._event(source, message, groups.pop(source, None))
        for source, group in groups.items():
            self._records(source, group)

    def _event(self, source: Source, message: Message, before: list[Message] | None) -> None:
        if before:
            self._records(source, before)
        feed = self._feeds.get(source)
        error = message.error()
        if feed is None or error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            reached = max(feed.next, int(message.offset() or 0))
            batch = _empty(source, feed.next, reached)
            feed.next = reached
            self._deliver(Delivery(feed.ticket, batch, 0, at_end=True))
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
            self._deliver(Delivery(feed.ticket, _empty(source, feed.next, feed.next), 0, error=error.str()))

    def _records(self, source: Source, group: list[Message]) -> None:
        feed = self._feeds.get(source)
        if feed is None:
            return
        values = [message.value() for message in group]
        n = len(group)
        offsets = np.fromiter((message.offset() for message in group), np.int64, n)
        log_times = np.fromiter((message.timestamp()[1] for message in group), np.int64, n)
        types = [_content_type(message) for message in group]
        batch = RawBatch(
            *source,
            start=feed.next,
            next=int(offsets[-1]) + 1,
            offsets=offsets,
            log_times=log_times,
            keys=[message.key() for message in group],
            values=values,
            content_types=types if any(types) else None,
        )
        feed.next = batch.next
        size = sum(len(value) for value in values if value is not None) + 100 * n
        feed.buffered += size
        full = feed.buffered > self._config.partition_buffer_bytes
        if not feed.paused and (full or self._buffered() > self._config.worker_buffer_bytes):
            feed.paused = True
            self._consumer.pause([TopicPartition(*source)])
        self._deliver(Delivery(feed.ticket, batch, size))


def _content_type(message: Message) -> str | None:
    headers = message.headers()
    if not headers:
        return None
    for name, value in dict(headers).items():
        if name == "content-type":
            return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return None


def _empty(source: Source, start: int, next_: int) -> RawBatch:
    none = np.empty(0, np.int64)
    return RawBatch(*source, start, next_, none, none, [], [])
