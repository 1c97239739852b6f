"""Asks a Kafka itself whether it is ready: metadata, and a write through its transaction coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tidewatch.broker.errors import StartError

_POLL_SECONDS = 0.05


def await_ready(bootstrap: str, brokers: int, seconds: float, alive: Callable[[], None]) -> None:
    """Return once ``brokers`` brokers are in the metadata and a transactional producer was initialised.

    The latter makes the transaction log and writes a record to it, acknowledged by all its replicas. ``alive`` is called
    between attempts and raises when waiting is pointless. Raises StartError after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    # While the ports are still closed librdkafka's log would be a wall of refused connections.
    quiet: dict[str, str | int | float] = {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 100,
        "log_level": 0,
    }
    admin = AdminClient({**quiet, "topic.metadata.refresh.interval.ms": -1})
    while not _sees(admin, brokers):
        alive()
        _check(deadline, seconds, f"{brokers} brokers in the metadata")
        time.sleep(_POLL_SECONDS)
    producer = Producer({**quiet, "transactional.id": "tidewatch.ready", "transaction.timeout.ms": 5000})
    while not _writes(producer):
        alive()
        _check(deadline, seconds, "a transactional producer")
        time.sleep(_POLL_SECONDS)


def _sees(admin: AdminClient, brokers: int) -> bool:
    try:
        metadata = admin.list_topics(timeout=1.0)
    except KafkaException:
        return False
    return len(metadata.brokers) == brokers and metadata.controller_id > 0


def _writes(producer: Producer) -> bool:
    try:
        producer.init_transactions(5.0)
    except KafkaException as error:
        if error.args[0].retriable():
            return False
        raise StartError(f"Kafka refused a transactional producer: {error}") from error
    return True


def _check(deadline: float, seconds: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise StartError(f"Kafka was not ready after {seconds:.0f} s: still waiting for {what}")
