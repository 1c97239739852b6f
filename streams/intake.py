"""What the fetch thread reads from: assigned partitions in, records by partition and events out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition
from numpy.typing import NDArray

Source = tuple[str, int]
Settings = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records of one partition, as in a ``RawBatch``."""

    source: Source
    offsets: NDArray[np.int64]
    log_times: NDArray[np.int64]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    content_types: Sequence[str | None] | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something other than a record, such as the end of a partition; ``code`` is librdkafka's."""

    source: Source
    offset: int
    code: int
    text: str


Arrival = Records | Event


class Intake(Protocol):
    """A consumer by ``assign()``; records of committed transactions only. For use by one thread."""

    def assign(self, source: Source, position: int) -> None:
        """Fetch a partition from a position on."""

    def unassign(self, source: Source) -> None:
        """Stop fetching a partition."""

    def pause(self, source: Source) -> None:
        """Hold a partition back."""

    def resume(self, source: Source) -> None:
        """Let a partition go on."""

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:
        """Wait for up to ``limit`` records and yield them by partition, with events at their place."""

    def close(self) -> None:
        """Leave and free what the client holds."""


def open_intake(settings: Settings) -> Intake:
    """Return the fastest intake that this installation has."""
    from streams.librdkafka import NativeIntake, library_path

    return ClientIntake(settings) if library_path() is None else NativeIntake(settings)


class ClientIntake:
    """Implements ``Intake`` on the Python client, where librdkafka's library is not to be found."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(dict(settings))

    def assign(self, source: Source, position: int) -> None:
        """Fetch a partition from a position on."""
        self._consumer.incremental_assign([TopicPartition(*source, position)])

    def unassign(self, source: Source) -> None:
        """Stop fetching a partition."""
        self._consumer.incremental_unassign([TopicPartition(*source)])

    def pause(self, source: Source) -> None:
        """Hold a partition back."""
        self._consumer.pause([TopicPartition(*source)])

    def resume(self, source: Source) -> None:
        """Let a partition go on."""
        self._consumer.resume([TopicPartition(*source)])

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:
        """Wait for up to ``limit`` records and yield them by partition, with events at their place."""
        groups: dict[Source, list[Message]] = {}
        for message in self._consumer.consume(limit, wait):
            source = (str(message.topic()), int(message.partition() or 0))
            error = message.error()
            if error is None:
                groups.setdefault(source, []).append(message)
                continue
            before = groups.pop(source, None)
            if before:
                yield _records(source, before)
            yield Event(source, int(message.offset() or 0), int(error.code()), error.str())
        for source, group in groups.items():
            yield _records(source, group)

    def close(self) -> None:
        """Leave and free what the client holds."""
        self._consumer.close()


def _records(source: Source, group: Sequence[Message]) -> Records:
    n = len(group)
    types = [_content_type(message) for message in group]
    return Records(
        source,
        np.fromiter((message.offset() for message in group), np.int64, n),
        np.fromiter((message.timestamp()[1] for message in group), np.int64, n),
        [message.key() for message in group],
        [message.value() for message in group],
        types if any(types) else None,
    )


def _content_type(message: Message) -> str | None:
    headers = message.headers()
    if not headers:
        return None
    for name, value in dict(headers).items():
        if name == "content-type":
            return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return None
