"""What must be true of the cluster before a worker starts: reachable, topics there and co-partitioned."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.config import EngineConfig, Stage
from streams.errors import MissingTopicError, PartitionCountError


def prepare(config: EngineConfig, stages: Sequence[Stage], say: Callable[[str], None]) -> int:
    """Wait for the broker, check every topic, make the checkpoint topic if it is missing; return the partition count.

    Raises:
        MissingTopicError: a topic is not there.
        PartitionCountError: topics that must be co-partitioned are not.
    """
    admin = AdminClient(dict(config.connection))
    counts = _partition_counts(admin, config, say)
    sources = {stage.topic for stage in stages}
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
    uneven = sorted(topic for topic in outputs if counts[topic] != partitions)
    if uneven:
        listing = ", ".join(f"{topic} has {counts[topic]}" for topic in uneven)
        raise PartitionCountError(
            f"Outputs must have as many partitions as the source ({partitions}): {listing}. "
            f"Recreate them with 'tidewatch topics create --partitions {partitions}' under a new version name."
        )
    _check_checkpoint(admin, config, counts.get(config.checkpoint_topic), partitions)
    return partitions


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


def _check_checkpoint(admin: AdminClient, config: EngineConfig, found: int | None, partitions: int) -> None:
    name = config.checkpoint_topic
    if found is None:
        _create_checkpoint(admin, name, partitions)
    elif found != partitions:
        raise PartitionCountError(
            f"The source has {partitions} partitions, but {name} was written for {found}: keys have moved, so the state no longer "
            "belongs to them. Plan: (1) stop the workers; (2) start side by side under a new --app-id, which recomputes from the "
            "source; (3) once it has caught up, switch the readers over and delete the old checkpoint topic."
        )


def _create_checkpoint(admin: AdminClient, name: str, partitions: int) -> None:
    settings = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
    try:
        admin.create_topics([NewTopic(name, partitions, config=settings)])[name].result(30)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was first
            raise
