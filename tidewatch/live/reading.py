"""Reads topics as any reader of results would: committed records only, without a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

_BATCH = 10_000


def reader(connection: Mapping[str, str | int], *, eof: bool = False) -> Consumer:
    """Return a read_committed consumer that neither joins a group nor commits offsets."""
    return Consumer(
        {
            **connection,
            "group.id": "tidewatch-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": eof,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )


def partitions_of(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Return all partitions of those topics that exist."""
    known = consumer.list_topics(timeout=10).topics
    return [
        TopicPartition(topic, number)
        for topic in topics
        if topic in known
        for number in known[topic].partitions
    ]


def read_to_end(connection: Mapping[str, str | int], topics: Iterable[str]) -> Iterator[list[Message]]:
    """Yield batches of the committed records of whole topics, in offset order within a partition.

    Raises:
        KafkaException: the broker says that something cannot be read.
    """
    consumer = reader(connection, eof=True)
    try:
        places = partitions_of(consumer, topics)
        consumer.assign([TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in places])
        left = len(places)
        while left:
            batch = []
            for message in consumer.consume(_BATCH, 1.0):
                error = message.error()
                if error is None:
                    batch.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    raise KafkaException(error)
            if batch:
                yield batch
    finally:
        consumer.close()


def headers_of(message: Message) -> list[tuple[str, bytes | str | None]]:
    """Return a record's headers; none at all is the empty list."""
    headers = message.headers() or []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)
