"""Fixtures shared by all tests: a real Kafka, names that do not clash, the reference data."""

from __future__ import annotations

import gc
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# A change is judged by the same input each time; `make explore` looks for new failures with fresh input.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("same")

# What the embedded broker is given too: quick failure detection, one replica, no topics by accident.
_CONTAINER_SETTINGS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_LOG_MESSAGE_TIMESTAMP_TYPE": "LogAppendTime",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "8",
    "KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "1000",
}


@dataclass(frozen=True, slots=True)
class Kafka:
    """The Kafka of this test session; ``connection`` holds librdkafka's settings to reach it."""

    connection: dict[str, str]
    source: str

    @property
    def bootstrap(self) -> str:
        return self.connection["bootstrap.servers"]


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """Give a Kafka: ``TIDEWATCH_BOOTSTRAP``'s, else one in Docker where an engine answers, else the embedded one."""
    if os.environ.get("TIDEWATCH_BOOTSTRAP"):
        from tidewatch.settings import Settings

        yield Kafka(Settings().connection(), "TIDEWATCH_BOOTSTRAP")
    elif docker_answers():
        with _containers_kafka() as kafka:
            yield kafka
    else:
        from tidewatch.broker import start_brokers

        with start_brokers(1) as local:
            yield Kafka(local.connection, "embedded")


@pytest.fixture
def topic_prefix() -> str:
    """Return a prefix for topic, group and transactional names that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def refdata() -> Path:
    """Return the folder of reference data; skip where it is not named, fail where it is required."""
    named = os.environ.get("TIDEWATCH_REFDATA", "")
    if named and Path(named).is_dir():
        return Path(named)
    if os.environ.get("TIDEWATCH_REQUIRE_REFDATA") == "1":
        pytest.fail(f"reference data are required, but TIDEWATCH_REFDATA={named!r} is no folder")
    pytest.skip("no reference data: TIDEWATCH_REFDATA does not name a folder")


def docker_answers() -> bool:
    """Tell whether a Docker engine can be reached; its absence is no error."""
    import docker
    from docker.errors import DockerException

    # The client leaves its socket open where nothing listens, and warnings are errors here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.from_env(timeout=3)
            try:
                return bool(client.ping())
            finally:
                client.close()
        except (DockerException, OSError):
            return False
        finally:
            gc.collect()


@contextmanager
def _containers_kafka() -> Iterator[Kafka]:
    from testcontainers.community.kafka import KafkaContainer

    container = KafkaContainer("confluentinc/cp-kafka:7.9.0").with_kraft()
    for name, value in _CONTAINER_SETTINGS.items():
        container.with_env(name, value)
    with container:
        yield Kafka({"bootstrap.servers": container.get_bootstrap_server()}, "testcontainers")
