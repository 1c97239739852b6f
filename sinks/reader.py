"""Reads topics without a group, read_committed: to their present end, or on and on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from threading import Event

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from sinks.errors import TopicError

TIMEOUT = 30.0
EARLIEST, LATEST = "earliest", "latest"
Start = str | int
"""``earliest``, ``latest``, or the log-append time in milliseconds from which to read."""

_BATCH = 10_000


def follow(
    connection: Mapping[str, str | int], topics: Sequence[str], start: Start, stopping: Event
) -> Iterator[list[Message]]:
    """Give committed records of all partitions as they come, until ``stopping`` is set.

    Keeps no position: it reads what is there from ``start`` on, whoever else reads. An empty list is given as soon as the
    start is settled, and now and then while nothing comes. A broker that goes away is waited for.

    Raises:
        TopicError: a topic is not there.
        KafkaException: no broker answers at first.
    """
    with closing(_consumer(connection)) as consumer:
        consumer.assign(_places(consumer, topics, start))
        yield []
        while not stopping.is_set():
            # One wait is short, so that whoever stops this is heard.
            yield [message for message in consumer.consume(_BATCH, 0.2) if message.error() is None]


def read_to_end(
    connection: Mapping[str, str | int], topics: Sequence[str], start: Start = EARLIEST
) -> Iterator[list[Message]]:
    """Give the committed records of all partitions up to the end they have now.

    Raises:
        TopicError: a topic is not there.
        KafkaException: no broker answers, or a partition cannot be read.
    """
    with closing(_consumer(connection)) as consumer:
        places = _places(consumer, topics, start)
        ends = {(p.topic, p.partition): _end(consumer, p) for p in places}
        open_ = set(ends)
        consumer.assign(places)
        while open_:
            given = []
            for message in consumer.consume(_BATCH, 1.0):
                place, offset = (str(message.topic()), int(message.partition() or 0)), message.offset() or 0
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if error is None and offset < ends[place]:
                    given.append(message)
                if error is not None or offset + 1 >= ends[place]:
                    open_.discard(place)
            yield given


def _consumer(connection: Mapping[str, str | int]) -> Consumer:
    return Consumer(
        {
            "log_level": 3,
            **connection,
            "group.id": "tidewatch-reader",  # librdkafka wants a name; nothing is ever committed under it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )


def _places(consumer: Consumer, topics: Sequence[str], start: Start) -> list[TopicPartition]:
    known = consumer.list_topics(timeout=TIMEOUT).topics
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise TopicError(f"no topic {', '.join(missing)}; make it with `tidewatch topics create`")
    places = [TopicPartition(topic, partition) for topic in topics for partition in known[topic].partitions]
    if start == LATEST:
        # Settled now, so that whatever is written from now on is seen.
        return [TopicPartition(place.topic, place.partition, _end(consumer, place)) for place in places]
    if start == EARLIEST:
        return [TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in places]
    asked = [TopicPartition(place.topic, place.partition, int(start)) for place in places]
    return consumer.offsets_for_times(asked, timeout=TIMEOUT)


def _end(consumer: Consumer, place: TopicPartition) -> int:
    _, high = consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout=TIMEOUT)
    return int(high)
