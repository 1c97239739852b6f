"""One look at a Kafka cluster: brokers, partitions with their replicas, groups with their offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams.offsets import reader_of

Source = tuple[str, int]

_IDLE = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}

_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """A partition: its first offset and its end (``None`` where no leader answers), replicas, those in sync."""

    oldest: int | None
    end: int | None
    replicas: int
    in_sync: int
    has_leader: bool


@dataclass(frozen=True, slots=True)
class GroupLook:
    """A consumer group: whether it has members, and the committed offset of each partition."""

    working: bool
    offsets: Mapping[Source, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look saw; ``time`` is in seconds on the caller's clock."""

    time: float
    brokers: int
    partitions: Mapping[Source, PartitionLook]
    groups: Mapping[str, GroupLook]


class ClusterReader:
    """Look at a cluster through the admin protocol; reads only, joins no group.

    ``wanted(topic)`` says which topics to look at; internal ones never are.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        clock: Callable[[], float],
        timeout: float = 10.0,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._admin = AdminClient({"log_level": 3, **connection})
        self._connection = connection
        self._readers: dict[str, Consumer] = {}
        self._clock = clock
        self._timeout = timeout
        self._wanted = wanted

    def look(self) -> Snapshot:
        """Return the cluster's present state.

        Raises:
            KafkaException: the cluster does not answer.
        """
        metadata = self._admin.list_topics(timeout=self._timeout)
        found = {
            (name, number): partition
            for name, topic in metadata.topics.items()
            if topic.error is None and not name.startswith("__") and self._wanted(name)
            for number, partition in topic.partitions.items()
        }
        led = [source for source, partition in found.items() if partition.leader >= 0]
        oldest, end = self._offsets(led, _EARLIEST), self._offsets(led, _LATEST)
        partitions = {
            source: PartitionLook(
                oldest.get(source), end.get(source), len(p.replicas), len(p.isrs), p.leader >= 0
            )
            for source, p in found.items()
        }
        return Snapshot(self._clock(), len(metadata.brokers), partitions, self._groups(list(partitions)))

    def _offsets(self, sources: list[Source], spec: OffsetSpec) -> dict[Source, int]:
        if not sources:
            return {}
        asked = {TopicPartition(*source): spec for source in sources}
        answers = self._admin.list_offsets(asked, request_timeout=self._timeout)
        offsets = {}
        for place, future in answers.items():
            try:
                offsets[place.topic, place.partition] = int(future.result(self._timeout).offset)
            except KafkaException:
                continue  # its leader is on the way out; the partition is shown without offsets
        return offsets

    def _groups(self, sources: list[Source]) -> dict[str, GroupLook]:
        # Asks every broker, and no group's coordinator (see streams.offsets).
        listed = self._admin.list_consumer_groups(request_timeout=self._timeout).result(self._timeout)
        working = {group.group_id: group.state not in _IDLE for group in listed.valid}
        for gone in self._readers.keys() - working.keys():
            self._readers.pop(gone).close()
        groups = {}
        for name, at_work in working.items():
            try:
                groups[name] = GroupLook(at_work, self._committed(name, sources))
            except KafkaException:
                continue  # its coordinator is on the way out, or it ended between listing and asking
        return groups

    def _committed(self, group: str, sources: list[Source]) -> dict[Source, int]:
        if group not in self._readers:
            self._readers[group] = reader_of(self._connection, group)
        places = self._readers[group].committed(
            [TopicPartition(*source) for source in sources], timeout=self._timeout
        )
        return {
            (place.topic, place.partition): int(place.offset)
            for place in places
            if place.error is None and place.offset >= 0
        }
