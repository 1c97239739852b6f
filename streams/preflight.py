"""What must be true of the cluster before a worker starts: reachable, topics there and co-partitioned."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from schemas.topics import CANARIES, CANARIES_SEEN
from streams.compatibility import moved_keys
from streams.config import EngineConfig, Stage
from streams.errors import EngineError, MissingTopicError, PartitionCountError

# Brokers delete whole segments only, and none that is still written to.
_PRIVATE_SEGMENT_MS = str(24 * 3_600_000)


def prepare(config: EngineConfig, stages: Sequence[Stage], say: Callable[[str], None]) -> int:
    """Wait for the broker, check every topic, make the checkpoint topic if it is missing; return the partition count.

    Raises:
        EngineError: two stages read one topic.
        MissingTopicError: a topic is not there.
        PartitionCountError: topics that must be co-partitioned are not.
    """
    admin = AdminClient({"log_level": 3, **config.connection})
    counts = _partition_counts(admin, config, say)
    sources = {stage.topic for stage in stages}
    if len(sources) < len(stages):
        raise EngineError(
            "Two pipelines of one app read the same topic: run each under an --app-id of its own."
        )
    outputs = {topic for stage in stages for topic in stage.outputs.values()}
    missing = sorted((sources | outputs) - counts.keys())
    if missing:
        raise MissingTopicError(
            f"Topics are missing: {', '.join(missing)}. Make them with 'tidewatch topics create', or ask the cluster's owner to."
        )
    wanted = {counts[topic] for topic in sources}
    if len(wanted) != 1:
        listing = ", ".join(f"{topic} has {counts[topic]}" for topic in sorted(sources))
        raise PartitionCountError(f"Source topics must have equally many partitions: {listing}.")
    (partitions,) = wanted
    found = counts.get(config.checkpoint_topic)
    if found is not None and found != partitions:
        raise moved_keys(config.app_id, found, partitions)
    uneven = sorted(topic for topic in outputs if counts[topic] != partitions)
    if uneven:
        listing = ", ".join(f"{topic} has {counts[topic]}" for topic in uneven)
        raise PartitionCountError(
            f"Outputs must have as many partitions as the source ({partitions}): {listing}. "
            f"Recreate them with 'tidewatch topics create --partitions {partitions}' under a new version name."
        )
    if found is None:
        private = any(stage.private for stage in stages)
        _create_checkpoint(admin, config.checkpoint_topic, partitions, private=private)
    _check_timestamps(admin, sources, say)
    return partitions


def canary_partitions(admin: AdminClient) -> int:
    """Return how many partitions can carry canaries: those that both of their topics have, 0 where one is missing."""
    topics = admin.list_topics(timeout=30).topics
    return min(len(topics[name].partitions) if name in topics else 0 for name in (CANARIES, CANARIES_SEEN))


def check_unchanged(
    admin: AdminClient, config: EngineConfig, stages: Sequence[Stage], partitions: int
) -> None:
    """Look once, while the app runs, whether its sources still have so many partitions; a cluster that is away says nothing.

    Raises:
        PartitionCountError: keys have moved between partitions, with a plan.
    """
    try:
        topics = admin.list_topics(timeout=5).topics
    except KafkaException:
        return
    for stage in stages:
        found = topics.get(stage.topic)
        if found is not None and found.error is None and len(found.partitions) > partitions:
            raise moved_keys(config.app_id, partitions, len(found.partitions))


def _partition_counts(admin: AdminClient, config: EngineConfig, say: Callable[[str], None]) -> dict[str, int]:
    told = False
    while True:
        try:
            metadata = admin.list_topics(timeout=5)
        except KafkaException as error:
            if not told:
                say(
                    f"No Kafka at {config.connection['bootstrap.servers']} yet ({error.args[0].str()}); waiting for it."
                )
                told = True
            time.sleep(1)
        else:
            return {
                name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None
            }


def _check_timestamps(admin: AdminClient, sources: set[str], say: Callable[[str], None]) -> None:
    """Warn where records carry their producers' clocks, which the guard against times in the future then relies on."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in sorted(sources)]
    for resource, answer in admin.describe_configs(resources).items():
        try:
            kind = answer.result(30)["message.timestamp.type"].value
        except (KafkaException, KeyError, TimeoutError):
            continue  # not everybody may read settings, and nothing depends on it
        if kind != "LogAppendTime":
            say(
                f"{resource.name} has message.timestamp.type={kind}: its retention goes by the producers' clocks, and so does the "
                "guard against event times in the future. 'tidewatch topics create' mends it."
            )


def _create_checkpoint(admin: AdminClient, name: str, partitions: int, *, private: bool) -> None:
    settings = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
    if private:
        settings["segment.ms"] = _PRIVATE_SEGMENT_MS
    try:
        admin.create_topics([NewTopic(name, partitions, config=settings)])[name].result(30)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was first
            raise
