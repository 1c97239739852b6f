"""Brings the cluster's topics in line with the catalogue, as far as nothing can be lost, and tells what differs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from schemas.topics import TopicSpec

TIMEOUT = 30.0
NOT_YET = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""What is said of a partition that was just made, until its broker has learnt that it leads it."""
DriftKind = Literal["missing", "partitions", "setting"]


@dataclass(frozen=True, slots=True)
class Observed:
    """A topic as it is; ``settings`` holds the effective value of every topic setting."""

    partitions: int
    replication: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what is declared and what is there, and how to mend it."""

    topic: str
    kind: DriftKind
    setting: str
    wanted: str
    found: str
    remedy: str

    @property
    def text(self) -> str:
        """The difference in words."""
        if self.kind == "missing":
            return f"{self.topic} is missing"
        what = "partitions" if self.kind == "partitions" else self.setting
        return f"{self.topic}: {what} should be {self.wanted}, is {self.found}"


def drift(specs: Iterable[TopicSpec], observed: Mapping[str, Observed]) -> list[Drift]:
    """Return every difference, in the order of the catalogue."""
    found: list[Drift] = []
    for spec in specs:
        there = observed.get(spec.name)
        if there is None:
            found.append(Drift(spec.name, "missing", "", "", "", "tidewatch topics create"))
            continue
        if there.partitions != spec.partitions:
            found.append(_partitions(spec, there))
        found += [
            _setting(spec.name, name, wanted, there.settings.get(name, ""))
            for name, wanted in spec.config.items()
            if there.settings.get(name) != wanted
        ]
    return found


def _partitions(spec: TopicSpec, there: Observed) -> Drift:
    remedy = (
        f"say --partitions {there.partitions} if that is meant; else make the topics under a new version name: "
        "more partitions would move keys away from their history, fewer are impossible"
    )
    return Drift(spec.name, "partitions", "partitions", str(spec.partitions), str(there.partitions), remedy)


def _setting(topic: str, name: str, wanted: str, found: str) -> Drift:
    remedy = (
        "change it by hand if you mean to: records would be deleted"
        if loses_data(name, found, wanted)
        else "tidewatch topics create --mend"
    )
    return Drift(topic, "setting", name, wanted, found, remedy)


def loses_data(setting: str, found: str, wanted: str) -> bool:
    """Tell whether changing a setting can delete records or refuse ones that were accepted before."""
    match setting:
        case "retention.ms":
            return int(wanted) >= 0 and (int(found) < 0 or int(wanted) < int(found))
        case "max.message.bytes":
            return int(wanted) < int(found)
        case "cleanup.policy":
            return True
        case _:
            return False


def mendable(found: Drift) -> bool:
    """Tell whether a difference can be mended without losing anything."""
    return found.kind == "setting" and not loses_data(found.setting, found.found, found.wanted)


def observe(admin: AdminClient, names: Iterable[str]) -> dict[str, Observed]:
    """Return those of the named topics that exist.

    Raises:
        KafkaException: the cluster does not answer or refuses.
    """
    known = admin.list_topics(timeout=TIMEOUT).topics
    there = [name for name in names if name in known and known[name].error is None]
    if not there:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    answers = {r.name: f.result(TIMEOUT) for r, f in admin.describe_configs(asked).items()}
    return {
        name: Observed(
            len(known[name].partitions),
            min((len(p.replicas) for p in known[name].partitions.values()), default=0),
            {key: str(entry.value) for key, entry in answers[name].items() if entry.value is not None},
        )
        for name in there
    }


def create(admin: AdminClient, specs: Sequence[TopicSpec], replication: int = -1) -> list[str]:
    """Make those topics that are missing, and return their names once they can be read and written.

    Safe to repeat and to run twice at once. ``replication`` -1 takes the cluster's default.

    Raises:
        KafkaException: the cluster does not answer or refuses.
    """
    known = admin.list_topics(timeout=TIMEOUT).topics
    missing = [spec for spec in specs if spec.name not in known]
    if not missing:
        return []
    new = [
        NewTopic(spec.name, spec.partitions, replication_factor=replication, config=spec.config)
        for spec in missing
    ]
    made: list[str] = []
    for name, future in admin.create_topics(new, operation_timeout=TIMEOUT).items():
        try:
            future.result(TIMEOUT)
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # someone else was first
                raise
    wait_until_known(admin, [spec.name for spec in missing])
    return made


def wait_until_known(admin: AdminClient, names: Sequence[str]) -> None:
    """Wait until topics that were just made are known to the brokers and led by some, who learn of them a little later."""
    deadline = time.monotonic() + TIMEOUT
    while not _led(admin, names):
        if time.monotonic() > deadline:
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, "topics were made but are not known to the brokers yet")
            )
        time.sleep(0.1)


def _led(admin: AdminClient, names: Sequence[str]) -> bool:
    known = admin.list_topics(timeout=TIMEOUT).topics
    if not set(names) <= known.keys():
        return False
    latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    places = {
        TopicPartition(name, partition): latest for name in names for partition in known[name].partitions
    }
    try:
        for future in admin.list_offsets(places, request_timeout=TIMEOUT).values():
            future.result(TIMEOUT)
    except KafkaException as error:
        return error.args[0].code() not in NOT_YET
    return True


def mend(admin: AdminClient, found: Sequence[Drift]) -> list[Drift]:
    """Change the settings that differ, where no record can be lost by it; return what was changed.

    Raises:
        KafkaException: the cluster does not answer or refuses.
    """
    safe = [d for d in found if mendable(d)]
    entries: dict[str, list[ConfigEntry]] = {}
    for d in safe:
        change = ConfigEntry(d.setting, d.wanted, incremental_operation=AlterConfigOpType.SET)
        entries.setdefault(d.topic, []).append(change)
    resources = [
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
        for topic, changes in entries.items()
    ]
    if resources:
        for future in admin.incremental_alter_configs(resources).values():
            future.result(TIMEOUT)
    return safe
