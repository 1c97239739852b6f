"""Asks a Kafka itself whether it is ready: metadata, and a write through its transaction coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tidewatch.broker.errors import StartError

_POLL_SECONDS = 0.05


def await_ready(addresses: Sequence[str], seconds: float, alive: Callable[[], None]) -> None:
    """Return once each broker sees all the others, their replicas are in sync, and a transactional producer can write.

    The producer's start makes the transaction log and writes a record to it, acknowledged by all in-sync replicas.
    ``alive`` is called between attempts and raises when waiting is pointless. Raises StartError after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    for address in addresses:
        # One client a broker: the others may answer for one that is still away.
        admin = AdminClient(_quiet(address))
        while not _sees(admin, len(addresses)):
            _wait(deadline, seconds, alive, f"{address} to see {len(addresses)} brokers in sync")
    producer = Producer(
        _quiet(",".join(addresses)) | {"transactional.id": "tidewatch.ready", "transaction.timeout.ms": 5000}
    )
    while not _writes(producer):
        _wait(deadline, seconds, alive, "a transactional producer")


def _quiet(addresses: str) -> dict[str, str | int | float | bool]:
    # While the ports are still closed librdkafka's log would be a wall of refused connections.
    return {
        "bootstrap.servers": addresses,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 100,
        "log_level": 0,
    }


def _sees(admin: AdminClient, brokers: int) -> bool:
    try:
        metadata = admin.list_topics(timeout=1.0)
    except KafkaException:
        return False
    partitions = [each for topic in metadata.topics.values() for each in topic.partitions.values()]
    in_sync = all(len(each.isrs) >= min(len(each.replicas), brokers) for each in partitions)
    return len(metadata.brokers) == brokers and in_sync


def _writes(producer: Producer) -> bool:
    try:
        producer.init_transactions(5.0)
    except KafkaException as error:
        if error.args[0].retriable():
            return False
        raise StartError(f"Kafka refused a transactional producer: {error}") from error
    return True


def _wait(deadline: float, seconds: float, alive: Callable[[], None], what: str) -> None:
    alive()
    if time.monotonic() > deadline:
        raise StartError(f"Kafka was not ready after {seconds:.0f} s: still waiting for {what}")
    time.sleep(_POLL_SECONDS)
