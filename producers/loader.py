"""Bulk loading of encoded events, as fast as one core goes: for benchmarks and the demo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError, Message, Producer

from producers.errors import UndeliveredError
from producers.producer import DeliveryCounts, ProducerLimits, librdkafka_settings

_LOADER_LIMITS = ProducerLimits(buffer_kbytes=131_072, buffer_events=1_000_000, linger=0.02)


def load(
    connection: Mapping[str, str | int],
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None]],
    *,
    limits: ProducerLimits = _LOADER_LIMITS,
    partition: int = -1,
) -> DeliveryCounts:
    """Write (key, value) pairs to a topic and return when all are there.

    Delivery: idempotent and acknowledged by all in-sync replicas, in order within a key. Only failures are reported one by one;
    an empty queue without failures means that everything arrived. A plain loop is used because librdkafka's
    batch call takes a dict for each record and is slower from Python.

    Raises:
        UndeliveredError: some records did not arrive within ``limits.delivery_timeout``.
    """
    reasons: list[str] = []

    def failed(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            reasons.append(error.str())

    settings = librdkafka_settings(connection, limits)
    producer = Producer({**settings, "delivery.report.only.error": True, "on_delivery": failed})
    accepted = _produce_all(producer, topic, records, partition)
    pending = producer.flush(limits.delivery_timeout + 1.0)
    if pending or reasons:
        raise UndeliveredError(topic, pending, len(reasons), reasons[0] if reasons else None)
    return DeliveryCounts(accepted, accepted, 0)


def _produce_all(
    producer: Producer, topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int
) -> int:
    produce = producer.produce
    accepted = 0
    for key, value in records:
        while True:
            try:
                produce(topic, value, key, partition)
            except BufferError:
                producer.poll(0.05)
            else:
                break
        accepted += 1
    return accepted
