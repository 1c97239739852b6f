"""The producer that all others send through: idempotent, bounded, and honest about what arrived."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.cloudevents import CloudEvents, Headers
from producers.errors import BackPressureError, EventRejectedError, ProducerFailedError, UndeliveredError
from producers.spreading import Spreader
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING
from schemas.ranges import RangeTable

_KEY_FIELDS = {kind.struct: kind.key for kind in (SENSOR_READING, HOSPITAL_EVENT)}
_POLL_EVERY = 256
_CODES = {
    KafkaError._MSG_TIMED_OUT: "timed_out",
    KafkaError._TIMED_OUT: "timed_out",
    KafkaError._PURGE_QUEUE: "given_up",
    KafkaError._PURGE_INFLIGHT: "given_up",
    KafkaError.MSG_SIZE_TOO_LARGE: "refused",
    KafkaError.INVALID_RECORD: "refused",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "refused",
    KafkaError._UNKNOWN_TOPIC: "no_topic",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "no_topic",
}
FAILURE_CODES = (*sorted(set(_CODES.values())), "other")
"""Why an accepted event may have been given up."""
_FULL_WAIT = 0.05


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """How many events were accepted, and what became of them: ``accepted = delivered + failed + pending``."""

    accepted: int
    delivered: int
    failed: int

    @property
    def pending(self) -> int:
        """Accepted events whose fate is not yet known."""
        return self.accepted - self.delivered - self.failed


@dataclass(frozen=True, slots=True)
class Failure:
    """An accepted event that was given up; ``code`` is librdkafka's name of the error."""

    topic: str
    key: bytes | None
    value: bytes | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProducerLimits:
    """Bounds of a producer: memory in kB and events, times in seconds, the largest event in bytes.

    ``delivery_timeout`` is how long an accepted event may wait for the broker before it is reported as failed;
    ``max_block`` how long ``send`` waits for room in the buffer (``None``: until there is some).
    """

    buffer_kbytes: int = 65_536
    buffer_events: int = 500_000
    linger: float = 0.01
    delivery_timeout: float = 120.0
    max_block: float | None = None
    max_event_bytes: int = 1_000_000


def librdkafka_settings(
    connection: Mapping[str, str | int], limits: ProducerLimits
) -> dict[str, str | int | float]:
    """Return the settings that every producer here shares: idempotent, acks=all, Java's partitioner, bounded."""
    return {
        "linger.ms": limits.linger * 1000,
        "compression.type": "lz4",
        **connection,
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "queue.buffering.max.kbytes": limits.buffer_kbytes,
        "queue.buffering.max.messages": limits.buffer_events,
        "message.timeout.ms": int(limits.delivery_timeout * 1000),
        "message.max.bytes": limits.max_event_bytes,
    }


class EventProducer:
    """Send events to one topic, keyed so that all of a sensor's (or patient's) events keep their order.

    Delivery: what ``send`` accepted is written once, in order within its key, to all in-sync replicas, or is counted as
    failed and handed to ``on_failure``; it is never dropped in silence. Once means within this producer's life: a
    caller that crashes and sends again writes again. An event given up at ``delivery_timeout`` may still have
    reached the topic if only its acknowledgement was lost. Memory is bounded: ``send`` waits while the
    buffer is full. Reports arrive during ``send``, ``poll`` and ``flush``; one thread at a time.
    Leaving the context without an exception flushes.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        topic: str,
        *,
        limits: ProducerLimits | None = None,
        cloud_events: CloudEvents | None = None,
        on_failure: Callable[[Failure], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self._limits = limits or ProducerLimits()
        self._cloud_events = cloud_events
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._encode = msgspec.json.Encoder().encode
        self._producer = Producer(librdkafka_settings(connection, self._limits))
        self._accepted = 0
        self._delivered = 0
        self._failed = 0
        self.failures: Counter[str] = Counter()
        self._reason: str | None = None
        self._closed = False
        self._route: Callable[[bytes], int] | None = None

    @property
    def counts(self) -> DeliveryCounts:
        """Return the counts as of the last report handled."""
        return DeliveryCounts(self._accepted, self._delivered, self._failed)

    def check(self, timeout: float = 10.0) -> int:
        """Return how many partitions the topic has, so that a wrong address or name shows before anything is sent.

        Raises:
            ProducerFailedError: no broker answers within ``timeout`` seconds, or there is no such topic.
        """
        try:
            known = self._producer.list_topics(self.topic, timeout).topics[self.topic]
        except KafkaException as error:
            raise ProducerFailedError(f"no broker answers: {error.args[0].str()}") from error
        if known.error is not None:
            raise ProducerFailedError(f"topic {self.topic}: {known.error.str()}")
        return len(known.partitions)

    def spread_hot_keys(self, timeout: float = 10.0) -> Spreader:
        """From now on send the rows of hot keys to whatever partition has had the least, and return what tells which these are.

        Rows of such a key are in no order, and its windows must be added up by a roll-up.

        Raises:
            ProducerFailedError: as ``check``.
        """
        spreader = Spreader(self.check(timeout))
        self._route = spreader.partition
        return spreader

    def follow_ranges(self, table: RangeTable) -> None:
        """From now on send each key to the partition whose range has it.

        Raises:
            ProducerFailedError: as ``check``, or the topic has not as many partitions as the table.
        """
        found = self.check()
        if found != table.partitions:
            raise ProducerFailedError(
                f"topic {self.topic} has {found} partitions, its range table {table.partitions}"
            )
        self._route = table.partition

    def send(self, event: msgspec.Struct) -> None:
        """Accept one typed event as JSON, waiting for room if the buffer is full.

        Raises:
            TypeError: an event type without a known key.
            EventRejectedError, BackPressureError, ProducerFailedError: it was not accepted, and why.
        """
        field = _KEY_FIELDS.get(type(event))
        if field is None:
            raise TypeError(f"no key is known for a {type(event).__name__}; use send_bytes")
        headers = self._cloud_events.headers(event) if self._cloud_events else None
        self.send_bytes(getattr(event, field).encode(), self._encode(event), headers)

    def send_bytes(self, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> None:
        """Accept one encoded event; errors as in ``send``. Without a key its partition is random."""
        if self._closed:
            raise ProducerFailedError("the producer is closed")
        partition = -1 if key is None or self._route is None else self._route(key)
        try:
            self._produce(key, value, headers, partition)
        except BufferError:
            self._produce_when_room(key, value, headers, partition)
        self._accepted += 1
        if self._accepted % _POLL_EVERY == 0:
            self._producer.poll(0)

    def poll(self, timeout: float = 0.0) -> None:
        """Handle delivery reports, waiting up to ``timeout`` seconds for the first."""
        self._producer.poll(timeout)

    def flush(self, timeout: float | None = None) -> DeliveryCounts:
        """Wait until the fate of every accepted event is known, at most ``timeout`` seconds.

        Raises:
            UndeliveredError: some are still pending, or some failed since the producer was made.
        """
        limit = self._limits.delivery_timeout + 1.0 if timeout is None else timeout
        self._producer.flush(limit)
        counts = self.counts
        if counts.pending or counts.failed:
            raise UndeliveredError(self.topic, counts.pending, counts.failed, self._reason)
        return counts

    def close(self, timeout: float | None = None) -> DeliveryCounts:
        """Flush and accept nothing more; what is still pending is given up and reported as failed."""
        self._closed = True
        try:
            return self.flush(timeout)
        finally:
            self._give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._closed = True
            self._producer.flush(1.0)
            self._give_up()

    def _produce(
        self, key: bytes | None, value: bytes | None, headers: Headers | None, partition: int
    ) -> None:
        try:
            self._producer.produce(
                self.topic, value, key, partition, on_delivery=self._report, headers=headers
            )
        except KafkaException as error:
            problem: KafkaError = error.args[0]
            rejected = problem.code() == KafkaError.MSG_SIZE_TOO_LARGE
            raise (EventRejectedError if rejected else ProducerFailedError)(problem.str()) from error

    def _produce_when_room(
        self, key: bytes | None, value: bytes | None, headers: Headers | None, partition: int
    ) -> None:
        patience = self._limits.max_block
        started = self._monotonic()
        while True:
            self._producer.poll(_FULL_WAIT)
            try:
                self._produce(key, value, headers, partition)
            except BufferError:
                if patience is not None and self._monotonic() - started > patience:
                    raise BackPressureError(f"no room in the buffer for {patience} s") from None
            else:
                return

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered += 1
            return
        self._failed += 1
        self.failures[_CODES.get(error.code(), "other")] += 1
        self._reason = self._reason or error.str()
        if self._on_failure:
            self._on_failure(Failure(self.topic, message.key(), message.value(), error.name(), error.str()))

    def _give_up(self) -> None:
        if self.counts.pending:
            self._producer.purge(in_queue=True, in_flight=True, blocking=True)
            self._producer.flush(1.0)
